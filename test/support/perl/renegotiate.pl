# A TLS 1.2 client that renegotiates with another certificate, which Node's own client cannot do.
# Reads commands from standard input, one a line with tabs between the words, and answers each with one line:
#   connect PORT CERT KEY   handshake with this certificate
#   send FILE               write the request in FILE
#   renegotiate CERT KEY    start a new handshake with this certificate and wait for its end
#   read                    read one answer; prints its status line
use strict;
use warnings;
use IO::Socket::INET;
use Net::SSLeay;

$| = 1;
Net::SSLeay::initialize();
my ($socket, $tls);

sub identify {
    my ($cert, $key) = @_;
    Net::SSLeay::use_certificate_file($tls, $cert, Net::SSLeay::FILETYPE_PEM()) or die "certificate\n";
    Net::SSLeay::use_PrivateKey_file($tls, $key, Net::SSLeay::FILETYPE_PEM()) or die "key\n";
}

my %commands = (
    connect => sub {
        my ($port, $cert, $key) = @_;
        $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") or die "connect: $!\n";
        my $context = Net::SSLeay::CTX_new_with_method(Net::SSLeay::TLS_client_method());
        Net::SSLeay::CTX_set_max_proto_version($context, Net::SSLeay::TLS1_2_VERSION());
        $tls = Net::SSLeay::new($context);
        Net::SSLeay::set_fd($tls, fileno($socket));
        identify($cert, $key);
        return Net::SSLeay::connect($tls) == 1 ? 'connected' : 'failed';
    },
    send => sub {
        open(my $file, '<:raw', $_[0]) or die "open: $!\n";
        local $/;
        return 'sent ' . Net::SSLeay::write($tls, <$file>);
    },
    renegotiate => sub {
        identify(@_);
        Net::SSLeay::renegotiate($tls);
        return Net::SSLeay::do_handshake($tls) == 1 ? 'renegotiated' : 'refused';
    },
    read => sub {
        my $answer = Net::SSLeay::read($tls);
        return defined $answer && $answer =~ /^([^\r\n]+)/ ? $1 : 'closed';
    },
);

while (my $line = <STDIN>) {
    chomp $line;
    my ($name, @arguments) = split /\t/, $line;
    my $answer = eval { $commands{$name}->(@arguments) } // 'error';
    print "$answer\n";
}
