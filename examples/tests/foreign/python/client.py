"""Calls a server over HTTPS as often as it is told, offering the session of the first connection at each later one.

client.py PORT VERSION TIMES CA [CHAIN KEY]
"""

import http.client
import socket
import ssl
import sys

port, version, times, ca, *credentials = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
if credentials:
    context.load_cert_chain(*credentials)

session = None
for _ in range(int(times)):
    try:
        connection = http.client.HTTPSConnection("localhost", int(port))
        tcp = socket.create_connection(("127.0.0.1", int(port)), timeout=25)
        # What HTTPSConnection would do by itself, but for the session.
        tls = context.wrap_socket(tcp, server_hostname="localhost", session=session)
        connection.sock = tls
        connection.request("GET", "/whoami")
        response = connection.getresponse()
        print(response.status, response.read().decode().strip(), "reused:", tls.session_reused)
        # In TLS 1.3 there is one once something was read (RFC 8446 section 4.6.1).
        session = tls.session
        connection.close()
    except OSError as error:
        print(f"{type(error).__name__}: {error}")
        sys.exit(1)
