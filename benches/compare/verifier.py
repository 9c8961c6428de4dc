"""An upstream that judges signatures, by Python's own hashlib: nothing of ours and nothing of the peers'."""
import base64
import email.utils
import hashlib
import hmac
import http.client
import http.server
import re
import threading
import time

from processes import Failed, free_port

USERNAME = 'bench'
SECRET = b'bench-secret-of-thirty-two-bytes'
TARGET = '/api/v1/sessions/point-in-time/plugin'
PARTS = ['request-line', 'x-date', 'content-type', 'content-sha512', 'content-length']


def judged(line, headers, body, expected):
    """What is wrong with a request, or None."""
    fields = {}
    for name, value in headers.items():
        if name.lower() in fields:
            return f'{name} stands twice'
        fields[name.lower()] = value
    for name in PARTS[1:] + ['authorization', 'idempotency-key']:
        if not fields.get(name):
            return f'{name} is missing'
    if 'transfer-encoding' in fields:
        return 'it is chunked'
    if body != expected:
        return 'the body is not the one that was posted'
    if fields['content-length'] != str(len(body)) or fields['content-type'] != 'application/json':
        return 'Content-Length or Content-Type is not that of the body'
    if fields['content-sha512'] != base64.b64encode(hashlib.sha512(body).digest()).decode():
        return 'Content-sha512 is not the digest of the body'
    if abs(email.utils.parsedate_to_datetime(fields['x-date']).timestamp() - time.time()) > 300:
        return 'X-Date is off'
    said = re.fullmatch(r'hmac username="([^"]*)", algorithm="hmac-sha512", headers="([^"]*)", signature="([^"]*)"',
                        fields['authorization'])
    if not said or said.group(1) != USERNAME or sorted(said.group(2).split(' ')) != sorted(PARTS):
        return 'Authorization is not of the form that Ingo asks for'
    text = '\n'.join(line if part == 'request-line' else f'{part}: {fields[part]}' for part in said.group(2).split(' '))
    signature = base64.b64encode(hmac.new(SECRET, text.encode('latin-1'), hashlib.sha512).digest()).decode()
    return None if said.group(3) == signature else 'the signature is not that of the request'


class Verifier:
    """Answers 200 to what verifies, and remembers what was wrong with what does not."""

    def __init__(self):
        self.expected, self.wrong, self.seen = b'', [], 0
        verifier = self

        class Judge(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
                wrong = judged(self.requestline, self.headers, body, verifier.expected)
                verifier.seen += 1
                if wrong:
                    verifier.wrong.append(wrong)
                answer = b'{"status":401}' if wrong else b'{"status":100,"client_message":"Success","data":null,"time":0}'
                self.send_response(401 if wrong else 200)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Judge)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def check(self, run, proxy, sizes):
        """Posts a body of each size through a proxy that is started for it, or fails: what does not sign is not timed."""
        port = free_port()
        process = proxy.start(run, port, self.port)
        try:
            bodies = [body(size) for size in sizes] + [b'{}', '{"name":"Zoë \u2014 ☃"}'.encode()]
            for number, self.expected in enumerate(bodies):
                # Ends with an empty list after each; one connection each, for what is wrong with one closes it.
                seen = self.seen
                connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
                query = '?a=%2F&b=%C3%A4' if number % 2 else ''
                connection.request('POST', TARGET + query, self.expected, {'Content-Type': 'application/json'})
                status = connection.getresponse().status
                connection.close()
                if self.wrong or status != 200 or self.seen != seen + 1:
                    why = '; '.join(self.wrong) or f'it answered {status}'
                    raise Failed(f'{proxy.name} does not sign a body of {len(self.expected)} bytes rightly: {why}')
        finally:
            run.stop(process)
        return len(bodies)


def body(size):
    """A valid Create Session of `size` bytes."""
    head = (b'{"participant_unique_id1":"bench","recipient_information":{"first_name":"Ada","last_name":"L",'
            b'"address_line1":"1 Main St","city":"Atlanta","state":"GA","zip_code":"30313"},"note":"')
    if size < len(head) + 2:
        raise Failed(f'a body of {size} bytes is shorter than any Create Session: at least {len(head) + 2}')
    return head + b'x' * (size - len(head) - 2) + b'"}'
