//! Credentials by a profile's plan: keys of a file, the output of a program, roles assumed at
//! STS; kept until shortly before they expire. How a profile is read is not known here.
//!
//! Sources: STS API reference, AssumeRole; "Process credential provider", AWS SDKs and Tools
//! Reference Guide.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use meridian_runtime::config::environment;
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, HttpError, ReqwestConnector};
use object_store::{ClientOptions, CredentialProvider};
use serde::Deserialize;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use super::profile::{Base, Keys, Plan, ProfileError, Profiles, Role};

/// Credentials are renewed so long before they expire, as AWS's tools do.
const RENEW_AHEAD: Duration = Duration::from_secs(300);
/// What never expires is read again so often: a file may have been replaced.
const REREAD_AFTER: Duration = Duration::from_secs(300);
/// After a renewal that failed, what is still valid serves for so long before the next.
const RENEW_AGAIN_AFTER: Duration = Duration::from_secs(10);
const ASK_WITHIN: Duration = Duration::from_secs(30);

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
enum CredentialError {
    #[error("shared AWS files")]
    Profile(#[from] ProfileError),
    #[error("credential_process cannot be run")]
    Process(#[from] std::io::Error),
    #[error("credential_process ended with {status}")]
    ProcessFailed { status: std::process::ExitStatus },
    #[error("credential_process printed no credentials")]
    ProcessOutput(#[from] serde_json::Error),
    #[error("nobody answered within {} s", ASK_WITHIN.as_secs())]
    Silence,
    #[error("STS cannot be asked at {endpoint}")]
    Request { endpoint: String, source: HttpError },
    #[error("STS at {endpoint} is no URL")]
    Endpoint { endpoint: String, source: http::Error },
    #[error("STS does not let {role} be assumed: {status} {message}")]
    Refused {
        role: String,
        status: http::StatusCode,
        message: String,
    },
}

impl From<CredentialError> for object_store::Error {
    fn from(error: CredentialError) -> Self {
        Self::Generic {
            store: "S3",
            source: Box::new(error),
        }
    }
}

/// Keys, and until when they are good.
#[derive(Debug, Clone)]
struct Lease {
    keys: Keys,
    expires: Option<DateTime<Utc>>,
}

#[derive(Debug)]
struct Held {
    credential: Arc<AwsCredential>,
    expires: Option<DateTime<Utc>>,
    renew_at: Instant,
}

/// A provider that follows a plan.
#[derive(Debug)]
pub(super) struct ProfileCredentials {
    plan: Plan,
    region: String,
    /// Where the base is not in the plan itself.
    ambient: Option<AwsCredentialProvider>,
    client: HttpClient,
    held: Mutex<Option<Held>>,
}

impl ProfileCredentials {
    pub(super) fn new(plan: Plan, region: String) -> Result<Self, object_store::Error> {
        let ambient = match &plan.base {
            Base::Ambient(settings) => Some(super::ambient(settings.clone())?),
            Base::File { .. } | Base::Process(_) => None,
        };
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout(ASK_WITHIN);
        Ok(Self {
            plan,
            region,
            ambient,
            client: ReqwestConnector::default().connect(&options)?,
            held: Mutex::new(None),
        })
    }

    async fn lease(&self) -> Result<Lease, object_store::Error> {
        let mut lease = match &self.plan.base {
            Base::File { profile, keys } => {
                let now = Profiles::from_environment().map_err(CredentialError::from)?;
                Lease {
                    keys: now.keys(profile).unwrap_or_else(|| keys.clone()),
                    expires: None,
                }
            }
            Base::Process(command) => run(command).await?,
            Base::Ambient(_) => self.ambient().await?,
        };
        for role in &self.plan.roles {
            lease = self.assume(role, lease.keys).await?;
        }
        Ok(lease)
    }

    async fn ambient(&self) -> Result<Lease, object_store::Error> {
        let Some(provider) = &self.ambient else {
            return Err(CredentialError::Silence.into());
        };
        // It keeps and renews them itself.
        let credential = provider.get_credential().await?;
        Ok(Lease {
            keys: Keys {
                key_id: credential.key_id.clone(),
                secret: credential.secret_key.clone(),
                token: credential.token.clone(),
            },
            expires: Some(Utc::now()),
        })
    }

    async fn assume(&self, role: &Role, keys: Keys) -> Result<Lease, CredentialError> {
        let endpoint = environment("AWS_ENDPOINT_URL_STS")
            .or_else(|| environment("AWS_ENDPOINT_URL"))
            .unwrap_or_else(|| format!("https://sts.{}.amazonaws.com", self.region));
        // The signature wants a URL with a path.
        let url = Url::parse(&endpoint).map_or_else(|_| endpoint.clone(), String::from);
        let mut request = http::Request::post(url)
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form(role).into())
            .map_err(|source| CredentialError::Endpoint {
                endpoint: endpoint.clone(),
                source,
            })?;
        AwsAuthorizer::new(&credential(keys), "sts", &self.region).authorize(&mut request, None);
        let failed = |source| CredentialError::Request {
            endpoint: endpoint.clone(),
            source,
        };
        let response = self.client.execute(request).await.map_err(failed)?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(failed)?;
        let text = String::from_utf8_lossy(&body);
        assumed(&text).filter(|_| status.is_success()).ok_or_else(|| {
            let message = element(&text, "Message").unwrap_or_default().to_owned();
            let role = role.arn.clone();
            CredentialError::Refused {
                role,
                status,
                message,
            }
        })
    }
}

#[async_trait]
impl CredentialProvider for ProfileCredentials {
    type Credential = AwsCredential;

    /// Whoever comes first renews; all others wait for that.
    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| Instant::now() < held.renew_at) {
            return Ok(Arc::clone(&held.credential));
        }
        let lease = tokio::time::timeout(ASK_WITHIN, self.lease())
            .await
            .unwrap_or_else(|_| Err(CredentialError::Silence.into()));
        match (lease, held.as_mut()) {
            (Ok(lease), _) => {
                let fresh = Held {
                    renew_at: Instant::now() + good_for(lease.expires),
                    expires: lease.expires,
                    credential: Arc::new(credential(lease.keys)),
                };
                let credential = Arc::clone(&fresh.credential);
                *held = Some(fresh);
                Ok(credential)
            }
            (Err(error), Some(older)) if older.expires.is_none_or(|expires| expires > Utc::now()) => {
                let reason = meridian_runtime::chain(&error);
                tracing::warn!(
                    reason,
                    "AWS credentials could not be renewed; the older ones are still good"
                );
                older.renew_at = Instant::now() + RENEW_AGAIN_AFTER;
                Ok(Arc::clone(&older.credential))
            }
            (Err(error), _) => Err(error),
        }
    }
}

fn form(role: &Role) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("Action", "AssumeRole")
        .append_pair("Version", "2011-06-15")
        .append_pair("RoleArn", &role.arn)
        .append_pair("RoleSessionName", &role.session)
        .append_pair("DurationSeconds", &role.seconds.to_string());
    if let Some(id) = &role.external_id {
        form.append_pair("ExternalId", id);
    }
    form.finish()
}

fn credential(keys: Keys) -> AwsCredential {
    AwsCredential {
        key_id: keys.key_id,
        secret_key: keys.secret,
        token: keys.token,
    }
}

fn good_for(expires: Option<DateTime<Utc>>) -> Duration {
    let Some(expires) = expires else {
        return REREAD_AFTER;
    };
    let left = (expires - Utc::now()).to_std().unwrap_or_default();
    // What is short-lived is used for half of its life.
    left.saturating_sub(RENEW_AHEAD).max(left / 2)
}

/// What a `credential_process` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<DateTime<Utc>>,
}

async fn run(command: &str) -> Result<Lease, CredentialError> {
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        let status = output.status;
        return Err(CredentialError::ProcessFailed { status });
    }
    let printed: Printed = serde_json::from_slice(&output.stdout)?;
    Ok(Lease {
        keys: Keys {
            key_id: printed.access_key_id,
            secret: printed.secret_access_key,
            token: printed.session_token,
        },
        expires: printed.expiration,
    })
}

/// The credentials in the XML of an answer.
fn assumed(text: &str) -> Option<Lease> {
    let value = |name: &str| element(text, name).map(ToOwned::to_owned);
    Some(Lease {
        keys: Keys {
            key_id: value("AccessKeyId")?,
            secret: value("SecretAccessKey")?,
            token: value("SessionToken"),
        },
        expires: Some(value("Expiration")?.parse().ok()?),
    })
}

/// The text of the first element of this name; none of those that are asked for has markup or
/// entities in it.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_sts_is_read() {
        let text = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId>\
            <SecretAccessKey>b/+=</SecretAccessKey><SessionToken>t</SessionToken>\
            <Expiration>2026-11-23T06:52:52Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
        let lease = assumed(text).expect("complete");
        assert_eq!(lease.keys.secret, "b/+=");
        assert_eq!(lease.expires.map(|at| at.timestamp()), Some(1_795_416_772));
        assert!(assumed("<Error><Message>no</Message></Error>").is_none());
    }

    #[test]
    fn credentials_are_renewed_before_they_expire() {
        let left = good_for(Some(Utc::now() + chrono::Duration::seconds(900)));
        assert!(
            left <= Duration::from_secs(600) && left > Duration::from_secs(590),
            "{left:?}"
        );
        let left = good_for(Some(Utc::now() + chrono::Duration::seconds(60)));
        assert!(left <= Duration::from_secs(30), "{left:?}");
        assert_eq!(good_for(Some(Utc::now())), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_program_gives_credentials() {
        let lease = run(r#"echo '{"Version":1,"AccessKeyId":"A","SecretAccessKey":"B"}'"#).await;
        assert_eq!(lease.expect("printed").keys.key_id, "A");
        assert!(matches!(
            run("exit 3").await,
            Err(CredentialError::ProcessFailed { .. })
        ));
        assert!(matches!(
            run("echo no").await,
            Err(CredentialError::ProcessOutput(_))
        ));
    }
}
