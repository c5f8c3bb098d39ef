//! The parts that the clients of SQS and SNS share: how they connect, and how a failure is told.

use aws_sdk_sqs::{
    config::SharedHttpClient,
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_http_client::tls;

/// The longest code of an error that is repeated.
const CODE_LEN_MAX: usize = 80;

/// A client for HTTPS with the cryptography that the program has in any case.
pub(crate) fn https_client() -> SharedHttpClient {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(provider).build_https()
}

/// A failure as a kind and a code: what AWS answers names accounts and roles.
pub(crate) fn failure<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    const SILENT: &str = "does not answer in time";
    const UNSENT: &str = "was not asked: are there a region and credentials?";
    match error {
        SdkError::TimeoutError(_) => SILENT.to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => SILENT.to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_io() => "is out of reach".to_owned(),
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => UNSENT.to_owned(),
        SdkError::ServiceError(_) => format!("refuses: {}", error.code().map_or("no code".to_owned(), shown_code)),
        _ => "gave an answer that cannot be read".to_owned(),
    }
}

/// A code as AWS writes them, e.g. `AWS.SimpleQueueService.NonExistentQueue`. Anything else that a
/// server gives as one is not shown.
pub(crate) fn shown_code(code: &str) -> String {
    let is_code = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '#');
    if code.len() <= CODE_LEN_MAX && code.chars().all(is_code) { code.to_owned() } else { "unknown code".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_aws_shows_its_code_and_nothing_else() {
        for (code, shown) in [
            ("AWS.SimpleQueueService.NonExistentQueue", "AWS.SimpleQueueService.NonExistentQueue"),
            ("AccessDenied", "AccessDenied"),
            ("arn:aws:iam::123456789012:role/ledger is not authorised", "unknown code"),
        ] {
            assert_eq!(shown_code(code), shown);
        }
    }
}
