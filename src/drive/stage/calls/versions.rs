//! `ApiVersions`.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use super::text;
use crate::drive::stage::wire::{Api, Request, WireError};

/// Answers which versions are served. A request of a version that is not gets the list in the oldest form, with the error that
/// says so, and the client asks again.
pub(super) fn answer(request: &Request) -> Result<Bytes, WireError> {
    let api = Api::of(request.key).ok_or(WireError::Malformed)?;
    if !api.serves(request.version) {
        let refusal = listed(0).with_error_code(ResponseError::UnsupportedVersion.code());
        return request.answer_as(0, &refusal);
    }
    let asked: ApiVersionsRequest = request.decode()?;
    let legal = |text: &str| {
        let sign = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(sign)
    };
    if request.version >= 3 && !(legal(&asked.client_software_name) && legal(&asked.client_software_version)) {
        return request.answer(&ApiVersionsResponse::default().with_error_code(ResponseError::InvalidRequest.code()));
    }
    request.answer(&listed(request.version))
}

/// First version whose clients can read of a feature that may be off.
const OFF_FROM: i16 = 4;

/// All that is served, and of Kafka's features that groups may be of the consumers' own protocol.
fn listed(version: i16) -> ApiVersionsResponse {
    let groups = || text("group.version");
    let supported = SupportedFeatureKey::default().with_name(groups()).with_min_version(0).with_max_version(1);
    let finalized =
        FinalizedFeatureKey::default().with_name(groups()).with_min_version_level(1).with_max_version_level(1);

    let of_api = |api: &Api| {
        // Versions 0 to 2 of `Produce` are listed, though nobody may use them: librdkafka takes a broker without them for one that
        // cannot do compression. Kafka 4 does the same.
        let min = if api.key == ApiKey::Produce { 0 } else { api.min };
        ApiVersion::default().with_api_key(api.key as i16).with_min_version(min).with_max_version(api.max)
    };
    ApiVersionsResponse::default()
        .with_api_keys(Api::all().map(of_api).collect())
        .with_supported_features(if version >= OFF_FROM { vec![supported] } else { Vec::new() })
        .with_finalized_features_epoch(1)
        .with_finalized_features(vec![finalized])
}
