"""Asks an STS server for temporary keys (AssumeRole), signing by hand, and prints them.

    assume_role.py http://HOST:PORT KEY SECRET   ->   {"AccessKeyId": ..., "SecretAccessKey": ..., "Token": ...}

Source: "Create a signed AWS API request", IAM User Guide.
"""

import datetime
import hashlib
import hmac
import json
import re
import sys
import urllib.parse
import urllib.request

REGION, SERVICE = "eu-central-1", "sts"


def signed(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


endpoint, key, secret = sys.argv[1:]
host = urllib.parse.urlsplit(endpoint).netloc
body = "Action=AssumeRole&DurationSeconds=900&Version=2011-06-15"
now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
day, names = now[:8], "content-type;host;x-amz-date"
form = "application/x-www-form-urlencoded"
canonical = f"POST\n/\n\ncontent-type:{form}\nhost:{host}\nx-amz-date:{now}\n\n{names}\n{sha256(body)}"
scope = f"{day}/{REGION}/{SERVICE}/aws4_request"
derived = ("AWS4" + secret).encode()
for part in (day, REGION, SERVICE, "aws4_request"):
    derived = signed(derived, part)
signature = signed(derived, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{sha256(canonical)}").hex()
request = urllib.request.Request(f"{endpoint}/", data=body.encode(), headers={
    "Content-Type": form, "X-Amz-Date": now,
    "Authorization": f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"})
with urllib.request.urlopen(request, timeout=30) as response:
    answer = response.read().decode()


def element(name):
    return re.search(f"<{name}>(.*?)</{name}>", answer).group(1)


print(json.dumps({"AccessKeyId": element("AccessKeyId"), "SecretAccessKey": element("SecretAccessKey"),
                  "Token": element("SessionToken")}))
