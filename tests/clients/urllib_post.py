"""Posts a session request with urllib, as a script without any dependency would."""
import json
import sys
import urllib.request

body = json.dumps({"participant_unique_id1": "from-the-client"}).encode()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for _ in range(2):
    with opener.open(urllib.request.Request(sys.argv[1], data=body), timeout=10) as answer:
        print(answer.read().decode())
