"""Serves one page over HTTPS that tells who the client is, to clients with a certificate of one CA.

server.py CHAIN KEY CA
"""

import http.server
import ssl
import sys

chain, key, ca = sys.argv[1:]


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        tls = self.connection
        client = tls.getpeercert()
        names = client["subjectAltName"]
        page = f"serial {client['serialNumber']}, {names}, {tls.version()}, reused: {tls.session_reused}\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page.encode())


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
context.verify_mode = ssl.CERT_REQUIRED
context.load_cert_chain(chain, key)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("serving at port", server.server_port, flush=True)
server.serve_forever()
