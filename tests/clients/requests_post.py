"""Posts session requests with requests on one kept-alive session: one with a length, one in chunks."""
import sys

import requests

session = requests.Session()
session.trust_env = False
body = {"participant_unique_id1": "from-the-client", "city": "Zürich"}
for arguments in ({"json": body}, {"data": iter([b'{"participant_unique_id1":', b'"from-the-client"}'])}):
    answer = session.post(sys.argv[1], timeout=10, **arguments)
    answer.raise_for_status()
    print(answer.text)
