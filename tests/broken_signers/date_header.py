#!/usr/bin/env python3
"""Broken: sends Date in place of X-Date."""

import base64
import hashlib
import hmac
import os
import sys
from email.utils import formatdate

secret = os.environ["INGO_SECRET"].encode()
username = os.environ["INGO_USERNAME"]
date = os.environ.get("INGO_DATE") or formatdate(usegmt=True)

target = "/api/v1/sessions/point-in-time/plugin?trace=a%2Fb&note=caf%C3%A9"
body = '{"participant_unique_id1":"70646041","recipient_information":{"first_name":"Zoë"}}'.encode()

digest = base64.b64encode(hashlib.sha512(body).digest()).decode()
length = len(body)

signing_string = "\n".join([
    f"POST {target} HTTP/1.1",
    f"x-date: {date}",
    "content-type: application/json",
    f"content-sha512: {digest}",
    f"content-length: {length}",
])
names = "request-line x-date content-type content-sha512 content-length"
mac = hmac.new(secret, signing_string.encode(), hashlib.sha512)
signature = base64.b64encode(mac.digest()).decode()

head = "\r\n".join([
    f"POST {target} HTTP/1.1",
    "Host: iip-session-management-uat.ingo.money",
    f"Date: {date}",
    "Content-Type: application/json",
    f"Content-sha512: {digest}",
    f"Content-Length: {length}",
    f'Authorization: hmac username="{username}", algorithm="hmac-sha512", headers="{names}", signature="{signature}"',
])
sys.stdout.buffer.write(head.encode() + b"\r\n\r\n" + body)
