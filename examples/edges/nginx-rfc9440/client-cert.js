// The client's certificate as an RFC 9440 byte sequence: the body of the PEM is its DER in base64. Empty where there is none.
function clientCert(request) {
  const pem = request.variables.ssl_client_raw_cert;
  return pem ? `:${pem.replace(/-----(BEGIN|END) CERTIFICATE-----|\s/g, '')}:` : '';
}

export default { clientCert };
