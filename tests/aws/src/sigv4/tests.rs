//! The examples of AWS: the one of the user guide and those of the test suite, and each of them
//! with something changed.

use bytes::Bytes;
use http::Request;

use super::*;

const NOW: i64 = 1_440_938_160;

/// A request as AWS's examples have it.
struct Example {
    request: http::request::Builder,
    body: &'static str,
    service: &'static str,
    signed: &'static str,
    signature: &'static str,
}

fn vanilla(method: &str, signature: &'static str) -> Example {
    Example {
        request: Request::builder()
            .method(method)
            .uri("/")
            .header("host", "example.amazonaws.com"),
        body: "",
        service: "service",
        signed: "host;x-amz-date",
        signature,
    }
}

fn examples() -> Vec<Example> {
    let form = "application/x-www-form-urlencoded";
    let mut posted = vanilla(
        "POST",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    );
    posted.request = posted.request.header("content-type", form);
    posted.body = "Param1=value1";
    posted.signed = "content-type;host;x-amz-date";
    vec![
        Example {
            request: Request::get("/?Version=2010-05-08&Action=ListUsers")
                .header("host", "iam.amazonaws.com")
                .header("content-type", format!("{form};  charset=utf-8")),
            body: "",
            service: "iam",
            signed: "content-type;host;x-amz-date",
            signature: "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        },
        vanilla(
            "GET",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        vanilla(
            "POST",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        posted,
    ]
}

fn call(example: Example) -> Call {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/{}/aws4_request, SignedHeaders={}, Signature={}",
        example.service, example.signed, example.signature
    );
    let request = example
        .request
        .header("x-amz-date", "20150830T123600Z")
        .header("authorization", authorization);
    let (head, ()) = request.body(()).expect("a request").into_parts();
    Call {
        head,
        body: Bytes::from_static(example.body.as_bytes()),
    }
}

fn keys(token: Option<&str>, expires_unix: Option<i64>) -> BTreeMap<String, Key> {
    let key = Key {
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        token: token.map(str::to_owned),
        expires_unix,
    };
    BTreeMap::from([("AKIDEXAMPLE".to_owned(), key)])
}

fn scope(service: &'static str) -> Scope<'static> {
    Scope {
        region: "us-east-1",
        service,
    }
}

/// The first request of the test suite, changed.
fn verdict(change: impl Fn(&mut Call)) -> Result<(), Flaw> {
    let mut call = call(examples().remove(1));
    change(&mut call);
    verify(&call, &keys(None, None), scope("service"), NOW)
}

fn replaced(call: &mut Call, from: &str, to: &str) {
    let header = call.header("authorization").replace(from, to);
    let value = header.parse().expect("a header's value");
    call.head.headers.insert("authorization", value);
}

fn headed(call: &mut Call, name: &'static str, value: &'static str) {
    call.head
        .headers
        .insert(name, http::HeaderValue::from_static(value));
}

#[test]
fn the_signatures_of_aws_examples_are_right() {
    for example in examples() {
        let (service, signature) = (example.service, example.signature);
        let verdict = verify(&call(example), &keys(None, None), scope(service), NOW);
        assert_eq!(verdict, Ok(()), "{signature}");
    }
}

#[test]
fn the_signing_key_is_the_one_of_the_user_guide() {
    let key = signing_key(
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        ["20150830", "us-east-1", "iam", "aws4_request"],
    );
    assert_eq!(
        hex(&key),
        "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    );
}

#[test]
fn whatever_is_changed_after_signing_is_noticed() {
    assert_eq!(
        verdict(|call| call.body = Bytes::from_static(b"x")),
        Err(Flaw::Mismatch)
    );
    assert_eq!(
        verdict(|call| call.head.method = http::Method::POST),
        Err(Flaw::Mismatch)
    );
    assert_eq!(
        verdict(|call| call.head.uri = "/other".parse().expect("a path")),
        Err(Flaw::Mismatch)
    );
    assert_eq!(
        verdict(|call| call.head.uri = "/?a=b".parse().expect("a path")),
        Err(Flaw::Mismatch)
    );
    assert_eq!(
        verdict(|call| headed(call, "host", "other.amazonaws.com")),
        Err(Flaw::Mismatch)
    );
    assert_eq!(
        verdict(|call| headed(call, "x-amz-date", "20150830T123601Z")),
        Err(Flaw::Mismatch)
    );
    assert_eq!(
        verdict(|call| replaced(call, "5fa00", "5fa01")),
        Err(Flaw::Mismatch)
    );
}

#[test]
fn a_signature_for_elsewhere_or_another_time_is_none() {
    assert_eq!(
        verdict(|call| replaced(call, "us-east-1", "us-east-2")),
        Err(Flaw::Scope("region"))
    );
    assert_eq!(
        verdict(|call| replaced(call, "/service/", "/logs/")),
        Err(Flaw::Scope("service"))
    );
    assert_eq!(
        verdict(|call| replaced(call, "20150830", "20150831")),
        Err(Flaw::Scope("date"))
    );
    assert_eq!(
        verdict(|call| replaced(call, "AKIDEXAMPLE", "AKIDOTHER")),
        Err(Flaw::Unknown)
    );
    let call = call(examples().remove(1));
    let at = |now| verify(&call, &keys(None, None), scope("service"), now);
    assert_eq!((at(NOW + 300), at(NOW - 300)), (Ok(()), Ok(())));
    assert_eq!((at(NOW + 301), at(NOW - 301)), (Err(Flaw::Time), Err(Flaw::Time)));
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(
        verdict(|call| drop(call.head.headers.remove("authorization"))),
        Err(Flaw::Missing)
    );
    assert_eq!(
        verdict(|call| drop(call.head.headers.remove("x-amz-date"))),
        Err(Flaw::Incomplete("X-Amz-Date"))
    );
    assert_eq!(
        verdict(|call| replaced(call, "Signature=", "S=")),
        Err(Flaw::Incomplete("Signature"))
    );
    assert_eq!(
        verdict(|call| replaced(call, "host;x-amz-date", "x-amz-date")),
        Err(Flaw::Unsigned("host".to_owned()))
    );
    let target = "x-amz-target";
    assert_eq!(
        verdict(|call| headed(call, target, "Logs")),
        Err(Flaw::Unsigned(target.to_owned()))
    );
}

#[test]
fn a_token_must_be_the_one_that_belongs_to_the_key_and_still_valid() {
    let unsigned = call(examples().remove(1));
    let with = |keys| verify(&unsigned, &keys, scope("service"), NOW);
    assert_eq!(with(keys(Some("token"), None)), Err(Flaw::Unknown));
    assert_eq!(with(keys(None, Some(NOW))), Err(Flaw::Expired));
    assert_eq!(
        verdict(|call| headed(call, "x-amz-security-token", "other")),
        Err(Flaw::Unknown)
    );
}

#[test]
fn each_service_says_it_in_its_own_words() {
    let scope = scope("logs");
    let said = |dialect| {
        let problem = Flaw::Mismatch.problem(dialect, &scope);
        (problem.status, problem.code)
    };
    assert_eq!(said(Dialect::Json), (400, "InvalidSignatureException"));
    assert_eq!(said(Dialect::RestJson), (403, "InvalidSignatureException"));
    assert_eq!(said(Dialect::Query), (403, "SignatureDoesNotMatch"));
}
