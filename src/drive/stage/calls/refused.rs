//! Calls that the stage does not serve: the protocol's own error where the call's answer has a place for one.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsResponse, ApiKey, CreateDelegationTokenResponse, DescribeAclsResponse,
    DescribeClientQuotasResponse, DescribeDelegationTokenResponse, DescribeQuorumResponse,
    DescribeUserScramCredentialsResponse, ElectLeadersResponse, ExpireDelegationTokenResponse,
    GetTelemetrySubscriptionsResponse, ListConfigResourcesResponse, ListPartitionReassignmentsResponse,
    ListTransactionsResponse, PushTelemetryResponse, RenewDelegationTokenResponse, SaslAuthenticateResponse,
    SaslHandshakeResponse, ShareAcknowledgeResponse, ShareFetchResponse, ShareGroupHeartbeatResponse,
    UnregisterBrokerResponse, UpdateFeaturesResponse,
};

use crate::drive::stage::wire::{Request, WireError};

/// Answers that the version is not supported, which is what a broker says that does not know the call.
///
/// # Errors
///
/// [`WireError::Unserved`] where the answer has no place for an error of its own: the connection is closed then, as Kafka does.
pub(super) fn answer(request: &Request) -> Result<Bytes, WireError> {
    let unserved = WireError::Unserved { key: request.key, version: request.version };
    let Some(key) = ApiKey::try_from(request.key).ok() else { return Err(unserved) };
    let range = key.valid_versions();
    if !(range.min..=range.max).contains(&request.version) {
        return Err(unserved);
    }
    macro_rules! refuse {
        ($($key:ident => $response:ident),* $(,)?) => {
            match key {
                $(ApiKey::$key => {
                    request.answer(&$response::default().with_error_code(ResponseError::UnsupportedVersion.code()))
                })*
                _ => Err(unserved),
            }
        };
    }
    refuse! {
        AlterPartitionReassignments => AlterPartitionReassignmentsResponse,
        CreateDelegationToken => CreateDelegationTokenResponse,
        DescribeAcls => DescribeAclsResponse,
        DescribeClientQuotas => DescribeClientQuotasResponse,
        DescribeDelegationToken => DescribeDelegationTokenResponse,
        DescribeQuorum => DescribeQuorumResponse,
        DescribeUserScramCredentials => DescribeUserScramCredentialsResponse,
        ElectLeaders => ElectLeadersResponse,
        ExpireDelegationToken => ExpireDelegationTokenResponse,
        GetTelemetrySubscriptions => GetTelemetrySubscriptionsResponse,
        ListConfigResources => ListConfigResourcesResponse,
        ListPartitionReassignments => ListPartitionReassignmentsResponse,
        ListTransactions => ListTransactionsResponse,
        PushTelemetry => PushTelemetryResponse,
        RenewDelegationToken => RenewDelegationTokenResponse,
        SaslAuthenticate => SaslAuthenticateResponse,
        SaslHandshake => SaslHandshakeResponse,
        ShareAcknowledge => ShareAcknowledgeResponse,
        ShareFetch => ShareFetchResponse,
        ShareGroupHeartbeat => ShareGroupHeartbeatResponse,
        UnregisterBroker => UnregisterBrokerResponse,
        UpdateFeatures => UpdateFeaturesResponse,
    }
}
