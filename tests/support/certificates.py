"""A certificate for servers on loopback."""

import ssl
from pathlib import Path

#: A self-signed certificate of localhost and 127.0.0.1, valid until 2126, and its key.
LOOPBACK = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgR5+Wnx2eijvMvKOH
iuDTm6pQapA29HA5o5T/kV0If2GhRANCAATs3po+naLWTi+q8iy6tNBh8qxLJoBc
g8pHyXSLu/WVTJpM52fYBUCYnoKNu4acfIXXh0qLnMDo7vd3GaqvcPk9
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUfdn/J9tgrYUFQlMlsP2K1+Dm/GwwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNzAzMDgxOVoYDzIxMjYxMTAz
MDMwODE5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATs3po+naLWTi+q8iy6tNBh8qxLJoBcg8pHyXSLu/WVTJpM52fYBUCY
noKNu4acfIXXh0qLnMDo7vd3GaqvcPk9o28wbTAdBgNVHQ4EFgQUqXdjFkZ9F+yg
KecMLY10jLoDbmowHwYDVR0jBBgwFoAUqXdjFkZ9F+ygKecMLY10jLoDbmowDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhAKkTsvgoq4nWMijPpB9WaQ3kwOydUvbzJoZjZDC42VbQAiEA
9cIRbDKc8rSDIZWLhnud4cPNsj46r/c9lUt61f5qLHs=
-----END CERTIFICATE-----
"""


def server_context(folder: Path) -> ssl.SSLContext:
    """Return a TLS context for servers; clients must trust `FOLDER/loopback.pem`."""
    pem = folder / "loopback.pem"
    pem.write_text(LOOPBACK, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
