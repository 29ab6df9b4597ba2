//! `GET /openapi.json`: the description of the interface, generated from the handlers.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::{envelope, error, queries, regions, sql, traces};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Meridian aggregator",
        description = "Questions about every region, with how much of the truth is in the answer."
    ),
    paths(sql::post, queries::list, queries::ask, traces::get, regions::get, get,),
    components(schemas(
        envelope::Envelope,
        envelope::Region,
        envelope::Gap,
        error::ErrorBody,
        error::ErrorFields,
        sql::SqlRequest,
        queries::QueryBody,
        queries::ParameterBody,
        regions::RegionBody,
        regions::Interval,
    ))
)]
struct Interface;

/// Describes the interface.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "describe",
    responses((status = 200, description = "This document", body = Object))
)]
pub(super) async fn get() -> Json<Document> {
    Json(Interface::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = Interface::openapi();
        let described: Vec<&str> = document.paths.paths.keys().map(String::as_str).collect();
        let mut routes: Vec<&str> = super::super::routes().iter().map(|(path, _)| *path).collect();
        routes.sort_unstable();
        assert_eq!(described, routes);
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_for_generated_clients() {
        let text = Interface::openapi().to_json().expect("JSON");
        let mut names: Vec<&str> = text.split("\"operationId\":").skip(1).collect();
        names
            .iter_mut()
            .for_each(|name| *name = name.split(',').next().unwrap_or(name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), count), (6, 6));
    }
}
