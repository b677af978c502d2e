//! The list of templates that can be had, and having one (`aplinfo`).

use serde_json::{Value, json};

use super::error::{ApiError, Outcome};
use super::file_api;
use super::router::Call;
use super::storage::TEMPLATES;

/// `GET /nodes/{node}/aplinfo`.
pub(crate) async fn list(call: &Call<'_>) -> Outcome {
    let all = call.node.runtime.appliances().await;
    let shown = all.iter().map(|one| {
        json!({
            "template": one.template, "package": one.package, "version": one.version, "os": one.os,
            "architecture": one.architecture, "headline": one.headline, "description": one.description,
            "location": one.location, "source": one.source, "section": one.section, "type": "lxc",
            "maintainer": "Phoenix", "infopage": "",
        })
    });
    Ok(Value::Array(shown.collect()).into())
}

/// `POST /nodes/{node}/aplinfo`: a task that puts the template onto the storage. The checks come in the order of
/// PVE::API2::Nodes, `apl_download`.
pub(crate) async fn download(call: &Call<'_>) -> Outcome {
    let (id, template) = (call.text("storage"), call.text("template"));
    let all = call.node.runtime.appliances().await;
    let Some(appliance) = all.into_iter().find(|one| one.template == template) else {
        return Err(ApiError::parameter("template", "no such template"));
    };
    let (target, there) = {
        let state = call.node.state();
        let storage = state.keep.storages.get(id);
        let storage = storage.ok_or_else(|| ApiError::die(format!("storage '{id}' does not exist")))?;
        if !storage.is_enabled(&call.node.name) {
            return Err(ApiError::die(format!("storage '{id}' is disabled")));
        }
        if !storage.holds("vztmpl") || !storage.has_files() {
            return Err(ApiError::die(format!("storage '{id}' does not support templates")));
        }
        (storage.template_path(template), storage.templates().iter().any(|one| one.name == template))
    };
    let (node, id, name) = (call.node.clone(), id.to_owned(), template.to_owned());
    Ok(call.task("download", template, move |log| async move {
        if there {
            log.line("OK, got correct file already, no need to download");
            return Ok(());
        }
        let size = node.runtime.make_template(&appliance, &target, &log).await?;
        file_api::keep(&node, &id, TEMPLATES, &name, size)
    }))
}
