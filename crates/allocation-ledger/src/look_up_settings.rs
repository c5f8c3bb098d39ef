//! The settings of look-ups: which other services of HMPPS are asked what a message does not say.

use std::fmt;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use hmpps::{ClientCredentials, LookUpAddresses, LookUpClient, LookUps, TierVersion};

/// Which services are asked, and with whose token. An empty value counts as none.
#[derive(Clone, Default, Args)]
pub struct LookUpSettings {
    /// Where the ledger gets its own token for look-ups: the address of HMPPS Auth, which ends in
    /// /auth
    #[arg(long, env = "HMPPS_AUTH_URL", value_name = "URL")]
    hmpps_auth_url: Option<String>,
    /// The id of the ledger's client there
    #[arg(long, env = "SYSTEM_CLIENT_ID", value_name = "ID")]
    system_client_id: Option<String>,
    /// The secret of that client
    #[arg(long, env = "SYSTEM_CLIENT_SECRET", value_name = "SECRET", hide_env_values = true)]
    system_client_secret: Option<String>,
    /// The address of the tier service, which is asked for the tier of a case
    #[arg(long, env = "TIER_API_URL", value_name = "URL")]
    tier_api_url: Option<String>,
    /// The version of its answers
    #[arg(long, env = "LEDGER_TIER_VERSION", value_enum, value_name = "VERSION", default_value_t)]
    tier_version: TierVersionSetting,
    /// The address of manage-pom-cases-and-delius, which is asked for the COM of a case and for the
    /// person whose case a CRN is
    #[arg(long, env = "MANAGE_POM_CASES_AND_DELIUS_API_URL", value_name = "URL")]
    manage_pom_cases_and_delius_api_url: Option<String>,
    /// The address of prisoner search, which is asked where a person is and for the sentence
    #[arg(long, env = "PRISONER_SEARCH_API_URL", value_name = "URL")]
    prisoner_search_api_url: Option<String>,
}

/// A version of the answers of the tier service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum TierVersionSetting {
    /// That of the link in each message
    #[default]
    #[value(alias = "")]
    Link,
    /// A to D with a change level
    V2,
    /// A to G
    V3,
}

impl fmt::Debug for LookUpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookUpSettings")
            .field("hmpps_auth_url", &self.hmpps_auth_url)
            .field("tier_api_url", &self.tier_api_url)
            .field("manage_pom_cases_and_delius_api_url", &self.manage_pom_cases_and_delius_api_url)
            .field("prisoner_search_api_url", &self.prisoner_search_api_url)
            .finish_non_exhaustive()
    }
}

impl LookUpSettings {
    /// The services that are asked; `None` where no address is given.
    ///
    /// # Errors
    /// An address is not one to which a token may be sent, or there is no way to get a token.
    pub fn open(&self) -> anyhow::Result<Option<LookUps>> {
        let [tiers, case_records, prisoner_search] = [
            read_setting(self.tier_api_url.as_ref()),
            read_setting(self.manage_pom_cases_and_delius_api_url.as_ref()),
            read_setting(self.prisoner_search_api_url.as_ref()),
        ];
        if tiers.is_none() && case_records.is_none() && prisoner_search.is_none() {
            return Ok(None);
        }
        let needed = |setting: &Option<String>, flag: &str| {
            read_setting(setting.as_ref()).with_context(|| format!("look-ups need a token of the ledger: add {flag}"))
        };
        let addresses = LookUpAddresses {
            sign_on: needed(&self.hmpps_auth_url, "--hmpps-auth-url")?,
            tiers,
            case_records,
            prisoner_search,
        };
        let credentials = ClientCredentials {
            id: needed(&self.system_client_id, "--system-client-id")?,
            secret: needed(&self.system_client_secret, "--system-client-secret")?,
        };
        let client = LookUpClient::new(&addresses, credentials).map_err(|why| anyhow!("look-ups: {why}"))?;
        let tier_version = match self.tier_version {
            TierVersionSetting::Link => None,
            TierVersionSetting::V2 => Some(TierVersion::V2),
            TierVersionSetting::V3 => Some(TierVersion::V3),
        };
        Ok(Some(LookUps { client, tier_version }))
    }
}

fn read_setting(setting: Option<&String>) -> Option<String> {
    setting.map(|text| text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_with_a_token_or_not_at_all() {
        let settings = LookUpSettings::default();
        assert!(settings.open().expect("nothing to ask").is_none());
        let blank = LookUpSettings { tier_api_url: Some(" ".to_owned()), ..settings.clone() };
        assert!(blank.open().expect("nothing to ask").is_none());
        let text = |text: &str| Some(text.to_owned());
        let with_service = LookUpSettings { tier_api_url: text("https://tiers.example"), ..settings };
        let complete = LookUpSettings {
            hmpps_auth_url: text("https://sign-in.example/auth"),
            system_client_id: text("ledger"),
            system_client_secret: text("secret"),
            ..with_service.clone()
        };
        assert!(complete.open().expect("look-ups").is_some());
        assert!(!format!("{complete:?}").contains("\"secret\""), "{complete:?}");
        for (settings, flag) in [
            (with_service, "--hmpps-auth-url"),
            (LookUpSettings { system_client_id: None, ..complete.clone() }, "--system-client-id"),
            (LookUpSettings { system_client_secret: text(""), ..complete.clone() }, "--system-client-secret"),
            (LookUpSettings { tier_api_url: text("http://tiers.example"), ..complete }, "the tier service"),
        ] {
            let error = settings.open().expect_err("settings that are refused");
            assert!(error.to_string().contains(flag), "{error}");
        }
    }
}
