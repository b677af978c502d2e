//! What `init --template` writes is a site: well on paper, planned, carried out in a simulated lab, and at its end then.

use super::{Lab, TestEnv};

#[test]
fn every_template_is_a_site_that_can_be_built() {
    for template in &blueprint::init::TEMPLATES {
        let name = template.name;
        let env = TestEnv::empty();
        let said = env.run(&["init", "--template", name, "--name", "home"]).ended(0);
        assert!(
            said.err.contains("wrote the site `home`") && said.err.contains(template.about),
            "{name}: {said:#?}"
        );
        let valid = env.run(&["validate"]).ended(0);
        assert!(!valid.err.contains("warning"), "{name}: {valid:#?}");
        let valid = env.run(&["validate", "--json"]).ended(0).json();
        assert_eq!(valid["valid"], true, "{name}: {valid}");
        for (path, _) in template.files("home") {
            assert!(!env.read(&path).contains("@NAME@"), "{name}: {path}");
        }

        let lab = Lab::of(env);
        let plan = lab.run(&["plan", "--json"]).ended(0).json();
        assert_eq!(plan["problems"].as_array().map(Vec::len), Some(0), "{name}: {plan}");
        assert!(plan["summary"]["actions"]["create"].as_u64() > Some(2), "{name}: {plan}");
        let up = lab.run(&["up", "--yes"]).ended(0);
        assert!(up.err.contains("https://"), "{name}: {up:#?}");
        // What was made is said, and where it is seen.
        for secret in ["vault-admin", "papers-admin", "chat-key", "talk-admin", "portainer-admin"] {
            let told = up.err.contains(&format!("phoenix-cli secrets show {secret}"));
            let used = template
                .files("home")
                .iter()
                .any(|(_, text)| text.contains(&format!("secrets show {secret}")));
            assert_eq!(told, used, "{name}: {secret}: {up:#?}");
        }
        let again = lab.run(&["plan", "--json"]).ended(0).json();
        assert_eq!(again["steps"].as_array().map(Vec::len), Some(0), "{name}: {again}");
    }
}

#[test]
fn help_and_the_error_list_the_templates() {
    let env = TestEnv::empty();
    // However its lines are broken.
    let help = env.run(&["init", "--help"]).ended(0).out;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let unknown = env.run(&["init", "--template", "other"]).ended(2).err;
    for template in &blueprint::init::TEMPLATES {
        assert!(help.contains(template.about), "{}: {help}", template.name);
        assert!(unknown.contains(template.name), "{unknown}");
    }
}
