//! Configurations that people have, as examples: each is sound, its plan is the one beside it, and after that there is nothing
//! to do. `PHOENIX_BLESS=1` writes the plans.

use camino::Utf8Path;
use scenarios::there::Ground;
use scenarios::{There, virtually};

use crate::support::{self, Files, plain, plan_of, scenario};

const EXAMPLES: [&str; 5] = ["docker-host", "media-server", "stacks", "vpn-router", "whole-host"];

#[test]
fn what_people_have_can_be_said() {
    for name in EXAMPLES {
        let folder = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
        let all = [
            "site.json",
            "features/router/feature.json",
            "pages/index.html",
            "stacks/news/compose.yaml",
            "stacks/notes/compose.yaml",
        ];
        let paths = all.into_iter().filter(|path| folder.join(path).is_file());
        let files: Files =
            paths.map(|path| (path.into(), fs_err::read(folder.join(path)).unwrap())).collect();
        let wanted =
            support::site_of(&files, scenarios::authority()).unwrap_or_else(|why| panic!("{name}: {why}"));
        let options = plain(scenarios::now());
        let plan = virtually(async {
            let mut there = There::new(Ground::for_all_of(&wanted.desired)).await;
            let plan = plan_of(&wanted.desired, &there.look_for(&wanted.desired).await, &options);
            assert_eq!(plan.problems, [], "{name}");
            scenario::arrives(&wanted, &mut there, &options, &plan).await;
            plan
        });
        let (file, found) = (folder.join("plan.txt"), scenario::shown(&plan));
        if std::env::var_os("PHOENIX_BLESS").is_some() {
            fs_err::write(&file, &found).unwrap();
        }
        assert_eq!(fs_err::read_to_string(&file).unwrap(), found, "{name}: PHOENIX_BLESS=1 writes it down");
    }
}
