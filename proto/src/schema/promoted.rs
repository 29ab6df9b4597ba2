//! The attributes that have a column of their own: those that queries filter on, and those that
//! nearly every span of an instrumented service carries, which cost less alone than in a map. The
//! column's name is the key of the OpenTelemetry semantic conventions with `_` for `.`.
//!
//! A promoted attribute is moved out of the map only if its value has the column's type;
//! any other value stays in the map, so that nothing is lost. The resource's keys are
//! copied, not moved: the resource is kept whole beside them.

/// The type that a value must have to be promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromotedType {
    /// A string; the column is a dictionary.
    String,
    /// A string that is as a rule another one in each span; the column is plain text.
    Text,
    /// An integer; the column is an `Int64`.
    Int,
}

/// One promoted attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promoted {
    /// The key in the semantic conventions.
    pub key: &'static str,
    /// The column's name.
    pub column: &'static str,
    /// The type of the values that are promoted.
    pub kind: PromotedType,
}

const fn string(key: &'static str, column: &'static str) -> Promoted {
    let kind = PromotedType::String;
    Promoted { key, column, kind }
}

const fn text(key: &'static str, column: &'static str) -> Promoted {
    let kind = PromotedType::Text;
    Promoted { key, column, kind }
}

const fn int(key: &'static str, column: &'static str) -> Promoted {
    let kind = PromotedType::Int;
    Promoted { key, column, kind }
}

/// Attributes of spans.
pub const SPAN: &[Promoted] = &[
    string("http.request.method", "http_request_method"),
    string("http.route", "http_route"),
    int("http.response.status_code", "http_response_status_code"),
    string("rpc.system", "rpc_system"),
    string("rpc.service", "rpc_service"),
    string("rpc.method", "rpc_method"),
    int("rpc.grpc.status_code", "rpc_grpc_status_code"),
    string("db.system.name", "db_system_name"),
    string("db.namespace", "db_namespace"),
    string("db.operation.name", "db_operation_name"),
    string("messaging.system", "messaging_system"),
    string("messaging.destination.name", "messaging_destination_name"),
    string("server.address", "server_address"),
    int("server.port", "server_port"),
    string("peer.service", "peer_service"),
    string("peer.region", "peer_region"),
    string("error.type", "error_type"),
    string("url.scheme", "url_scheme"),
    text("url.path", "url_path"),
    text("url.query", "url_query"),
    text("url.full", "url_full"),
    string("user_agent.original", "user_agent_original"),
    text("client.address", "client_address"),
    text("network.peer.address", "network_peer_address"),
    int("network.peer.port", "network_peer_port"),
    string("network.protocol.name", "network_protocol_name"),
    string("network.protocol.version", "network_protocol_version"),
    string("db.query.text", "db_query_text"),
    int("thread.id", "thread_id"),
    string("thread.name", "thread_name"),
    string("code.function.name", "code_function_name"),
];

/// Attributes of the resource, in every table.
pub const RESOURCE: &[Promoted] = &[
    string("service.name", "service_name"),
    string("service.namespace", "service_namespace"),
    string("service.version", "service_version"),
    string("service.instance.id", "service_instance_id"),
    string("deployment.environment.name", "deployment_environment_name"),
    string("k8s.cluster.name", "k8s_cluster_name"),
    string("k8s.namespace.name", "k8s_namespace_name"),
    string("k8s.deployment.name", "k8s_deployment_name"),
    string("k8s.pod.name", "k8s_pod_name"),
    string("k8s.node.name", "k8s_node_name"),
    string("cloud.account.id", "cloud_account_id"),
    string("cloud.region", "cloud_region"),
    string("cloud.availability_zone", "cloud_availability_zone"),
    string("host.name", "host_name"),
    string("telemetry.sdk.language", "telemetry_sdk_language"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named_after_their_keys() {
        for attribute in SPAN.iter().chain(RESOURCE) {
            assert_eq!(attribute.column, attribute.key.replace('.', "_"));
        }
        assert!(
            RESOURCE
                .iter()
                .all(|attribute| attribute.kind == PromotedType::String)
        );
    }
}
