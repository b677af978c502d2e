//! Where a virtual machine's system comes from: the image of its first disk, and the media in its drives.

use plan::desired::Guest;
use plan::planner::World;
use plan::{Change, Problem};
use serde_json::Value;

use crate::guests::table::Origin;
use crate::images::{self, Lack, Source};

/// The media in its two drives, on a node, as far as some are declared.
pub(in crate::guests) fn media(
    world: World<'_>,
    wanted: &Guest,
    node: &str,
) -> [Option<Result<Source, Lack>>; 2] {
    let on = world.desired.node_of(wanted);
    let declared = wanted.vm().map_or([None, None], |vm| [vm.iso.as_ref(), vm.second_iso.as_ref()]);
    declared.map(|name| Some(images::image(world, name?, on.as_ref(), node)))
}

/// The image of its first disk, and its media.
pub(super) fn origin(world: World<'_>, wanted: &Guest, node: &str) -> Result<Origin, Box<Problem>> {
    let on = world.desired.node_of(wanted);
    let problem = |lack: Lack| Box::new(lack.problem(wanted.resource()));
    let image = wanted.vm().and_then(|vm| vm.image.as_ref());
    let image =
        image.map(|name| images::image(world, name, on.as_ref(), node)).transpose().map_err(problem)?;
    let [medium, second] = media(world, wanted, node).map(Option::transpose);
    let (medium, second) = (medium.map_err(problem)?, second.map_err(problem)?);
    let file = |source: &Source| source.volume.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Origin {
        shown: image.as_ref().map(|image| Change::new("image", Value::Null, file(image))),
        needs: [&image, &medium, &second]
            .into_iter()
            .flatten()
            .filter_map(|source| source.step.clone())
            .collect(),
        import: image.map(|image| image.volume),
        medium: medium.map(|medium| medium.volume),
        second: second.map(|medium| medium.volume),
        ..Origin::default()
    })
}
