//! The shared files of AWS's tools, `~/.aws/config` and `~/.aws/credentials`: what a profile
//! says about credentials, as a plan of who is asked for them. It asks nobody.
//!
//! Source: "Shared config and credentials files", AWS SDKs and Tools Reference Guide.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use meridian_runtime::config::environment;
use object_store::aws::AmazonS3ConfigKey;

/// Roles that assume roles; more is a circle.
const ROLES_MAX: usize = 8;
const SECONDS_DEFAULT: u32 = 3_600;

/// A profile that gives no credentials.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A file is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// AWS_PROFILE or source_profile names what no file has.
    #[error("no file has a profile {name}")]
    Missing {
        /// The name.
        name: String,
    },
    /// It gives nothing that is understood.
    #[error("profile {name} {what}")]
    Unusable {
        /// The name.
        name: String,
        /// What is wrong, and what to do.
        what: String,
    },
}

/// Keys, as they sign.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) key_id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.key_id)
    }
}

/// Who is asked first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// Nobody: the file has them. They are read again, for files are replaced.
    File { profile: String, keys: Keys },
    /// A program.
    Process(String),
    /// The container, the instance, or a web identity, with these settings.
    Ambient(Vec<(AmazonS3ConfigKey, String)>),
}

/// A role that is assumed with the credentials before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) session: String,
    pub(super) external_id: Option<String>,
    pub(super) seconds: u32,
}

/// How credentials are come by: the base, then one role after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) base: Base,
    pub(super) roles: Vec<Role>,
}

type Section = HashMap<String, String>;

/// Both files, and the name of the profile that counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Profiles {
    name: String,
    /// Whether somebody asked for it by name.
    is_named: bool,
    sections: HashMap<String, Section>,
}

impl Profiles {
    /// Reads the files that the environment names, or those in the home directory.
    pub(super) fn from_environment() -> Result<Self, ProfileError> {
        let name = environment("AWS_PROFILE").filter(|name| !name.is_empty());
        let home = environment("HOME").map(PathBuf::from);
        let path = |variable: &str, file: &str| {
            let named = environment(variable).map(PathBuf::from);
            named.or_else(|| Some(home.as_ref()?.join(".aws").join(file)))
        };
        let config = read(path("AWS_CONFIG_FILE", "config").as_deref())?;
        let credentials = read(path("AWS_SHARED_CREDENTIALS_FILE", "credentials").as_deref())?;
        Ok(Self::parse(name, &config, &credentials))
    }

    fn parse(name: Option<String>, config: &str, credentials: &str) -> Self {
        let mut sections: HashMap<String, Section> = HashMap::new();
        for (title, key, value) in lines(config) {
            let profile = match title {
                "default" => Some("default"),
                _ => title.strip_prefix("profile ").map(str::trim),
            };
            if let Some(profile) = profile {
                sections.entry(profile.to_owned()).or_default().insert(key, value);
            }
        }
        for (title, key, value) in lines(credentials) {
            sections.entry(title.to_owned()).or_default().insert(key, value);
        }
        Self {
            is_named: name.is_some(),
            name: name.unwrap_or_else(|| "default".to_owned()),
            sections,
        }
    }

    /// The region of the profile.
    pub(super) fn region(&self) -> Option<&str> {
        self.sections.get(&self.name)?.get("region").map(String::as_str)
    }

    /// The keys that a profile has in a file.
    pub(super) fn keys(&self, profile: &str) -> Option<Keys> {
        let section = self.sections.get(profile)?;
        Some(Keys {
            key_id: section.get("aws_access_key_id")?.clone(),
            secret: section.get("aws_secret_access_key")?.clone(),
            token: section.get("aws_session_token").cloned(),
        })
    }

    /// How the profile's credentials are come by; `None` if it has none and nobody named it.
    pub(super) fn plan(&self) -> Result<Option<Plan>, ProfileError> {
        let (mut name, mut roles) = (self.name.clone(), Vec::new());
        loop {
            let Some(section) = self.sections.get(&name) else {
                if self.is_named || !roles.is_empty() {
                    return Err(ProfileError::Missing { name });
                }
                return Ok(None);
            };
            let get = |key: &str| section.get(key).cloned();
            let source = get("source_profile").filter(|source| get("role_arn").is_some() && *source != name);
            if let (Some(source), Some(role)) = (source, role(section)) {
                roles.push(role);
                name = source;
                if roles.len() > ROLES_MAX {
                    let what = "assumes roles in a circle".to_owned();
                    return Err(ProfileError::Unusable { name, what });
                }
                continue;
            }
            return match self.base(&name, section)? {
                Some((base, role)) => {
                    roles.extend(role);
                    roles.reverse();
                    Ok(Some(Plan { base, roles }))
                }
                None if self.is_named || !roles.is_empty() => Err(ProfileError::Unusable {
                    name,
                    what: "has no credentials: neither keys, a role, nor a credential_process".to_owned(),
                }),
                None => Ok(None),
            };
        }
    }

    /// Who is asked first, and the role that the same profile assumes with that.
    fn base(&self, name: &str, section: &Section) -> Result<Option<(Base, Option<Role>)>, ProfileError> {
        let get = |key: &str| section.get(key).cloned();
        if let (Some(arn), Some(file)) = (get("role_arn"), get("web_identity_token_file")) {
            let mut settings = vec![
                (AmazonS3ConfigKey::WebIdentityTokenFile, file),
                (AmazonS3ConfigKey::RoleArn, arn),
            ];
            settings.extend(get("role_session_name").map(|name| (AmazonS3ConfigKey::RoleSessionName, name)));
            return Ok(Some((Base::Ambient(settings), None)));
        }
        if get("role_arn").is_some() && get("credential_source").is_some() {
            return Ok(Some((Base::Ambient(Vec::new()), role(section))));
        }
        if let Some(keys) = self.keys(name) {
            let profile = name.to_owned();
            return Ok(Some((Base::File { profile, keys }, role(section))));
        }
        if let Some(command) = get("credential_process") {
            return Ok(Some((Base::Process(command), None)));
        }
        if section.keys().any(|key| key.starts_with("sso_")) {
            return Err(ProfileError::Unusable {
                name: name.to_owned(),
                what: format!(
                    "uses SSO, which is not spoken here; give it \
                     `credential_process = aws configure export-credentials --profile {name}`"
                ),
            });
        }
        Ok(None)
    }
}

fn role(section: &Section) -> Option<Role> {
    let get = |key: &str| section.get(key).cloned();
    Some(Role {
        arn: get("role_arn")?,
        session: get("role_session_name").unwrap_or_else(|| "meridian-aggregator".to_owned()),
        external_id: get("external_id"),
        seconds: get("duration_seconds")
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(SECONDS_DEFAULT),
    })
}

/// A file that is not there is an empty one.
fn read(path: Option<&Path>) -> Result<String, ProfileError> {
    let Some(path) = path else {
        return Ok(String::new());
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(ProfileError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Each `key = value` with the title of its section. Indented lines belong to settings of
/// other services.
fn lines(text: &str) -> impl Iterator<Item = (&str, String, String)> {
    let mut title = "";
    text.lines().filter_map(move |line| {
        if line.starts_with([' ', '\t', '#', ';']) {
            return None;
        }
        if let Some(inside) = line.trim().strip_prefix('[') {
            title = inside.split(']').next().unwrap_or_default().trim();
            return None;
        }
        let (key, value) = line.split_once('=')?;
        let value = value.split(" #").next().unwrap_or_default().trim();
        Some((title, key.trim().to_ascii_lowercase(), value.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
[default]
region = eu-west-1
[profile plain]
region=eu-central-1 # where it is
s3 =
  max_concurrent_requests = 20
[profile reader]
role_arn = arn:aws:iam::1:role/reader
source_profile = plain
external_id = x
[profile outer]
role_arn = arn:aws:iam::2:role/outer
role_session_name = s
duration_seconds = 900
source_profile = reader
[profile eks]
role_arn = arn:aws:iam::1:role/eks
web_identity_token_file = /token
[profile program]
credential_process = /bin/give --me
[profile people]
sso_start_url = https://x
[profile a]
role_arn = arn:a
source_profile = b
[profile b]
role_arn = arn:b
source_profile = a
";
    const CREDENTIALS: &str = "[plain]\naws_access_key_id = K\naws_secret_access_key = S=\n";

    fn profiles(name: Option<&str>) -> Profiles {
        Profiles::parse(name.map(ToOwned::to_owned), CONFIG, CREDENTIALS)
    }

    fn plan(name: &str) -> Plan {
        let plan = profiles(Some(name)).plan().expect("usable");
        plan.expect("there is one")
    }

    #[test]
    fn keys_and_region_of_a_profile_come_from_both_files() {
        let keys = Keys {
            key_id: "K".to_owned(),
            secret: "S=".to_owned(),
            token: None,
        };
        let profile = "plain".to_owned();
        let base = Base::File { profile, keys };
        let roles = Vec::new();
        assert_eq!(plan("plain"), Plan { base, roles });
        assert_eq!(profiles(Some("plain")).region(), Some("eu-central-1"));
        assert_eq!(profiles(None).region(), Some("eu-west-1"));
    }

    #[test]
    fn roles_are_assumed_from_the_source_outwards() {
        let roles = plan("outer").roles;
        let seen: Vec<_> = roles
            .iter()
            .map(|role| (role.arn.as_str(), role.seconds, role.external_id.as_deref()))
            .collect();
        let expected = [
            ("arn:aws:iam::1:role/reader", 3_600, Some("x")),
            ("arn:aws:iam::2:role/outer", 900, None),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn web_identities_and_programs_are_bases() {
        assert!(matches!(plan("eks").base, Base::Ambient(settings) if settings.len() == 2));
        assert_eq!(plan("program").base, Base::Process("/bin/give --me".to_owned()));
    }

    #[test]
    fn a_profile_that_gives_nothing_says_what_to_do() {
        let fault = |name: &str| profiles(Some(name)).plan().expect_err("unusable").to_string();
        assert!(fault("people").contains("export-credentials --profile people"));
        assert!(fault("a").contains("circle"));
        assert!(fault("nobody").contains("no file has a profile nobody"));
    }

    #[test]
    fn a_default_profile_without_credentials_is_passed_over() {
        assert_eq!(profiles(None).plan().expect("no fault"), None);
        let nothing = Profiles::parse(None, "", "");
        assert_eq!(nothing.plan().expect("no fault"), None);
    }
}
