//! The attribute keys that mean something to X-Ray, old and new semantic conventions both, so that
//! a span's attributes are told apart in one walk. What they mean is said where they are used.

use std::sync::LazyLock;

macro_rules! keys {
    ($($name:ident $text:literal)*) => {
        /// A key that is known.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Key {
            $(#[doc = $text] $name,)*
        }

        const ALL: &[(&str, Key)] = &[$(($text, Key::$name),)*];
    };
}

keys! {
    // http
    HttpRequestMethod "http.request.method"
    HttpRequestMethodOriginal "http.request.method_original"
    HttpMethod "http.method"
    HttpResponseStatusCode "http.response.status_code"
    HttpStatusCode "http.status_code"
    HttpStatusText "http.status_text"
    HttpResponseBodySize "http.response.body.size"
    HttpResponseContentLength "http.response_content_length"
    HttpUrl "http.url"
    HttpTarget "http.target"
    HttpScheme "http.scheme"
    HttpHost "http.host"
    HttpServerName "http.server_name"
    HttpClientIp "http.client_ip"
    HttpUserAgent "http.user_agent"
    HttpRoute "http.route"
    UserAgentOriginal "user_agent.original"
    UrlFull "url.full"
    UrlScheme "url.scheme"
    UrlPath "url.path"
    UrlQuery "url.query"
    // network
    ServerAddress "server.address"
    ServerPort "server.port"
    ClientAddress "client.address"
    NetworkPeerAddress "network.peer.address"
    NetworkPeerPort "network.peer.port"
    NetHostName "net.host.name"
    NetHostPort "net.host.port"
    NetPeerName "net.peer.name"
    NetPeerIp "net.peer.ip"
    NetPeerPort "net.peer.port"
    NetSockPeerName "net.sock.peer.name"
    NetSockPeerAddr "net.sock.peer.addr"
    NetSockPeerPort "net.sock.peer.port"
    // names
    AwsLocalService "aws.local.service"
    AwsRemoteService "aws.remote.service"
    AwsRemoteOperation "aws.remote.operation"
    AwsRemoteTarget "remoteTarget"
    K8sRemoteNamespace "K8s.RemoteNamespace"
    AwsSpanKind "aws.span.kind"
    PeerService "peer.service"
    AwsService "aws.service"
    RpcSystem "rpc.system"
    RpcSystemName "rpc.system.name"
    RpcService "rpc.service"
    RpcMethod "rpc.method"
    // databases
    DbSystem "db.system"
    DbSystemName "db.system.name"
    DbName "db.name"
    DbNamespace "db.namespace"
    DbStatement "db.statement"
    DbQueryText "db.query.text"
    DbUser "db.user"
    DbConnectionString "db.connection_string"
    // calls of AWS
    AwsOperation "aws.operation"
    AwsAccountId "aws.account_id"
    AwsRegion "aws.region"
    AwsRequestId "aws.request_id"
    AwsRequestIdOld "aws.requestId"
    AwsQueueUrl "aws.queue_url"
    AwsQueueUrlOld "aws.queue.url"
    AwsSqsQueueUrl "aws.sqs.queue.url"
    MessagingUrl "messaging.url"
    AwsTableName "aws.table_name"
    AwsTableNameOld "aws.table.name"
    AwsDynamodbTableNames "aws.dynamodb.table_names"
    // the rest of a span's
    EnduserId "enduser.id"
    ErrorType "error.type"
    AwsXrayAnnotations "aws.xray.annotations"
    // exceptions
    ExceptionType "exception.type"
    ExceptionMessage "exception.message"
    ExceptionStacktrace "exception.stacktrace"
    // resources
    ServiceName "service.name"
    ServiceNamespace "service.namespace"
    ServiceVersion "service.version"
    ServiceInstanceId "service.instance.id"
    CloudProvider "cloud.provider"
    CloudPlatform "cloud.platform"
    CloudRegion "cloud.region"
    CloudAccountId "cloud.account.id"
    CloudAvailabilityZone "cloud.availability_zone"
    HostId "host.id"
    HostName "host.name"
    HostType "host.type"
    HostImageId "host.image.id"
    ContainerName "container.name"
    ContainerId "container.id"
    ContainerImageTag "container.image.tag"
    K8sClusterName "k8s.cluster.name"
    K8sPodName "k8s.pod.name"
    AwsEksClusterArn "aws.eks.cluster.arn"
    AwsEcsClusterArn "aws.ecs.cluster.arn"
    AwsEcsContainerArn "aws.ecs.container.arn"
    AwsEcsTaskArn "aws.ecs.task.arn"
    AwsEcsTaskFamily "aws.ecs.task.family"
    AwsEcsLaunchtype "aws.ecs.launchtype"
    AwsLogGroupNames "aws.log.group.names"
    AwsLogGroupArns "aws.log.group.arns"
    TelemetrySdkName "telemetry.sdk.name"
    TelemetrySdkLanguage "telemetry.sdk.language"
    TelemetrySdkVersion "telemetry.sdk.version"
    TelemetryAutoVersion "telemetry.auto.version"
    TelemetryDistroVersion "telemetry.distro.version"
}

/// How many there are.
pub const COUNT: usize = ALL.len();

/// By length: most keys are told apart by it, and no other byte is looked at.
static BY_LENGTH: LazyLock<Vec<Vec<(&'static str, Key)>>> = LazyLock::new(|| {
    let longest = ALL.iter().map(|(text, _)| text.len()).max().unwrap_or(0);
    let of = |length| {
        let of_length = ALL.iter().filter(|(text, _)| text.len() == length);
        of_length.copied().collect()
    };
    (0..=longest).map(of).collect()
});

impl Key {
    /// The key with this text.
    #[inline]
    pub fn of(text: &str) -> Option<Self> {
        let candidates = BY_LENGTH.get(text.len())?;
        let found = candidates.iter().find(|(known, _)| *known == text);
        found.map(|(_, key)| *key)
    }

    /// Its text.
    pub fn text(self) -> &'static str {
        ALL.get(self.index()).map_or("", |(text, _)| text)
    }

    /// Its place among all of them.
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_has_a_place_of_its_own() {
        for (place, (text, key)) in ALL.iter().enumerate() {
            assert_eq!((Key::of(text), key.index()), (Some(*key), place), "{text}");
            assert_eq!(key.text(), *text);
        }
        for unknown in [
            "",
            "http.methoD",
            "x",
            "a.key.that.is.longer.than.all.that.are.known",
        ] {
            assert_eq!(Key::of(unknown), None);
        }
    }
}
