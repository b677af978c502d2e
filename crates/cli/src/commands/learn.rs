//! `learn`: exercises, each with a site and a lab of its own.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use plan::render::Style;
use serde_json::json;
use site::ErrorKind;
use transport::Command;

use crate::args::{
    Apply, Carrying, Chosen, Global, LabDown, LabUp, LearnCheck, LearnCommand, LearnNamed, LearnStart,
    LearnStop, Shown,
};
use crate::commands::{apply, consent, lab};
use crate::error::{CommandError, Outcome, already_reported};
use crate::learn::{Exercise, Goal, Notebook, Record, Step, certificates, judge, site_files};
use crate::opening;
use crate::printer::{Printer, paint};

/// How long a command may take that sets the scene.
const SCENE: Duration = Duration::from_secs(60);

/// Leads to what is to be done.
pub async fn run(global: &Global, command: Option<LearnCommand>, printer: Printer) -> Outcome {
    let all = Exercise::all().map_err(|e| CommandError::from_error("learn::unreadable", &e))?;
    match command {
        None | Some(LearnCommand::List) => list(&all, printer),
        Some(LearnCommand::Start(options)) => start(global, &all, &options, printer).await,
        Some(LearnCommand::Check(options)) => {
            check(&begun(global, &all, &options.named)?, &options, printer).await
        }
        Some(LearnCommand::Hint(named)) => hint(begun(global, &all, &named)?, printer),
        Some(LearnCommand::Stop(options)) => {
            stop(&begun(global, &all, &options.named)?, &options, printer).await
        }
    }
}

/// An exercise that was begun.
struct Begun<'e> {
    name: &'e str,
    exercise: &'e Exercise,
    folder: Utf8PathBuf,
    record: Record,
    /// The options for commands about its site.
    global: Global,
}

impl Begun<'_> {
    /// For what is done on the way: only warnings and errors are shown.
    fn hushed(&self) -> Printer {
        Printer { json: false, ..Printer::new(&self.global).quiet() }
    }
}

/// The exercise of this name.
fn find<'e>(
    all: &'e BTreeMap<&'static str, Exercise>,
    name: &str,
) -> Result<(&'static str, &'e Exercise), CommandError> {
    all.get_key_value(name).map(|(name, exercise)| (*name, exercise)).ok_or_else(|| {
        let near = blueprint::nearest(name, all.keys().copied());
        let meant = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        CommandError::usage("learn::unknown", format!("there is no exercise `{name}`"))
            .hint(format!("{meant}phoenix-cli learn lists them"))
    })
}

/// The options of commands about the site in `folder`. What they print as data is nobody's here.
fn at(global: &Global, folder: &Utf8Path) -> Global {
    Global { site: folder.to_owned(), json: false, quiet: true, ..global.clone() }
}

/// The exercise that is meant: the one that is named, that of the site's folder, or the last one.
fn begun<'e>(
    global: &Global,
    all: &'e BTreeMap<&'static str, Exercise>,
    named: &LearnNamed,
) -> Result<Begun<'e>, CommandError> {
    let notebook = Notebook::read();
    let here = site::folder(&global.site)?;
    let of_here = Record::read(&here);
    let name = match (&named.name, &of_here) {
        (Some(name), _) => Some(find(all, name)?.0.to_owned()),
        (None, Some(record)) => Some(record.exercise.clone()),
        (None, None) => notebook.current.clone(),
    };
    let folder = match (&name, of_here) {
        (Some(name), Some(record)) if record.exercise == *name => Some(here),
        (Some(name), _) => notebook.folders.get(name).cloned(),
        (None, _) => None,
    };
    let found = name.zip(folder).and_then(|(name, folder)| Some((name, Record::read(&folder)?, folder)));
    let Some((name, record, folder)) = found.filter(|(name, record, _)| record.exercise == *name) else {
        let what = match &named.name {
            Some(name) => format!("the exercise `{name}` is not begun"),
            None => "no exercise is begun".to_owned(),
        };
        let name = named.name.as_deref().unwrap_or("NAME");
        return Err(CommandError::usage("learn::not-begun", what)
            .hint(format!("phoenix-cli learn start {name}; phoenix-cli learn lists them")));
    };
    let (name, exercise) = find(all, &name)?;
    let global = at(global, &folder);
    Ok(Begun { name, exercise, folder, record, global })
}

fn list(all: &BTreeMap<&'static str, Exercise>, printer: Printer) -> Outcome {
    let notebook = Notebook::read();
    let folder = |name: &str| {
        let folder = notebook.folders.get(name)?;
        Record::read(folder).filter(|record| record.exercise == name).map(|record| (folder, record))
    };
    let current = notebook.current.as_deref().filter(|name| folder(name).is_some());
    let mut sorted: Vec<_> = all.iter().collect();
    sorted.sort_by_key(|(_, exercise)| exercise.number);
    if printer.json {
        let one = |(name, exercise): &(&&str, &Exercise)| {
            let begun = folder(name);
            json!({
                "name": name, "number": exercise.number, "title": exercise.title, "page": exercise.page,
                "minutes": exercise.minutes, "needs_real_containers": exercise.needs_real_containers,
                "done": notebook.done.get(**name), "folder": begun.as_ref().map(|(folder, _)| folder),
                "hints": begun.as_ref().map(|(_, record)| record.hints), "current": current == Some(**name),
            })
        };
        printer.data_json(&json!({ "exercises": sorted.iter().map(one).collect::<Vec<_>>() }));
        return Ok(0);
    }
    for (name, exercise) in sorted {
        let (sign, style) = match (notebook.done.contains_key(*name), current == Some(*name)) {
            (_, true) => ("▶", Style::Strong),
            (true, _) => ("✔", Style::Add),
            (false, false) => ("·", Style::Dim),
        };
        let real = if exercise.needs_real_containers { ", needs real containers" } else { "" };
        let (title, minutes) = (&exercise.title, exercise.minutes);
        printer.data(format!("{} {name:<14} {title} ({minutes} min{real})", paint(style, sign)));
        if let Some((folder, record)) = folder(name) {
            let hints = match record.hints {
                0 => String::new(),
                n => format!(", {n} of {} hints given", exercise.hints.len()),
            };
            printer.data(format!("    in {folder}{hints}"));
        }
    }
    printer.say("to begin one: phoenix-cli learn start NAME");
    Ok(0)
}

/// The folder that the exercise is to be in.
fn place(name: &str, options: &LearnStart, notebook: &Notebook) -> Result<Utf8PathBuf, CommandError> {
    let is_it = |folder: &Utf8Path| Record::read(folder).is_some_and(|record| record.exercise == name);
    let known = notebook.folders.get(name).filter(|folder| is_it(folder));
    let wanted = match (&options.dir, known) {
        (Some(dir), _) => site::folder(dir)?,
        (None, Some(known)) => return Ok(known.clone()),
        (None, None) => site::folder(Utf8Path::new("phoenix-learn"))?.join(name),
    };
    if let Some(known) = known.filter(|known| **known != wanted) {
        return Err(CommandError::usage(
            "learn::elsewhere",
            format!("the exercise `{name}` is begun in {known}"),
        )
        .hint(format!("go on there, or end it: phoenix-cli learn stop {name} --remove")));
    }
    let is_empty = match wanted.read_dir_utf8() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if is_empty || is_it(&wanted) {
        return Ok(wanted);
    }
    Err(CommandError::usage("learn::folder", format!("{wanted} has other things in it"))
        .hint(format!("phoenix-cli learn start {name} --dir DIR, which is a new folder")))
}

/// Refuses an exercise that needs real containers where there can be none.
fn can_be_done(name: &str, exercise: &Exercise, simulated: bool) -> Result<(), CommandError> {
    if !exercise.needs_real_containers {
        return Ok(());
    }
    let what = |why: &str| {
        CommandError::usage(
            "learn::needs-containers",
            format!("the exercise `{name}` needs real containers: {why}"),
        )
    };
    if simulated {
        return Err(what("a simulated lab was asked for").hint(format!("phoenix-cli learn start {name}")));
    }
    ::lab::up::check().map_err(|error| what(&error.to_string()).hint_if(error.hint()))
}

async fn start(
    global: &Global,
    all: &BTreeMap<&'static str, Exercise>,
    options: &LearnStart,
    printer: Printer,
) -> Outcome {
    let (name, exercise) = find(all, &options.name)?;
    can_be_done(name, exercise, options.simulated)?;
    let mut notebook = Notebook::read();
    let folder = place(name, options, &notebook)?;
    let before = Record::read(&folder);
    let goes_on = before.as_ref().is_some_and(|record| record.ready);
    let record = before.unwrap_or_else(|| Record::new(name));
    fs_err::create_dir_all(&folder).map_err(|e| CommandError::from_error("learn::record", &e))?;
    // Another spelling of the folder would be another lab.
    let folder = site::folder(&folder)?;
    let mut begun = Begun { name, exercise, global: at(global, &folder), folder, record };
    // Before anything else, so that what is cut off here can be ended.
    begun.record.write(&begun.folder)?;
    notebook.current = Some(name.to_owned());
    notebook.folders.insert(name.to_owned(), begun.folder.clone());
    notebook.write()?;
    if !goes_on {
        write_site(&begun)?;
    }
    printer.say(format!("… starting the lab of `{name}`"));
    // What began with records goes on with them.
    let simulated = options.simulated || begun.record.simulated || is_simulated(&begun.folder);
    lab::start(&begun.global, &lab_of(&begun.folder, simulated), begun.hushed()).await?;
    begun.record.simulated = is_simulated(&begun.folder);
    begun.record.write(&begun.folder)?;
    if !goes_on {
        set_scene(&mut begun, printer).await?;
    }
    tell(&begun, goes_on, printer);
    Ok(0)
}

/// Writes the site that the exercise begins with, over what an attempt that was cut off left.
fn write_site(begun: &Begun<'_>) -> Result<(), CommandError> {
    let write = |path: &str, bytes: &[u8]| {
        let file = begun.folder.join(path);
        let folder = file.parent().map_or(Ok(()), fs_err::create_dir_all);
        folder
            .and_then(|()| fs_err::write(&file, bytes))
            .map_err(|e| CommandError::from_error("init::write", &e))
    };
    for (path, bytes) in site_files(begun.name) {
        write(path, bytes)?;
    }
    let schema = serde_json::to_string_pretty(&blueprint::schema()).unwrap_or_default();
    write(".phoenix/blueprint.schema.json", schema.as_bytes())
}

/// Where ports of labs of exercises begin: below those that systems give to connections by themselves, so that none is taken in
/// between.
const FIRST_PORT: u16 = 20_000;

/// Ports that nobody has, from a place that follows from the folder, so that labs of exercises are in nobody's way; a lab that is there
/// keeps its own.
fn lab_of(folder: &Utf8Path, simulated: bool) -> LabUp {
    let is_new = ::lab::up::NodeRecord::read(&site::default_lab(folder)).is_none();
    let place =
        folder.as_str().bytes().fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let from = FIRST_PORT + place % 10_000;
    let mut free =
        (from..from + 1_000).filter(|port| is_new && TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let mut port = || free.next();
    LabUp {
        simulated,
        nodes: None,
        machine: false,
        disks: None,
        api_port: port(),
        ssh_port: port(),
        https_port: port(),
    }
}

fn is_simulated(folder: &Utf8Path) -> bool {
    let lab = ::lab::up::NodeRecord::read(&site::default_lab(folder));
    lab.is_some_and(|lab| lab.runtime == ::lab::runtime::RuntimeKind::Simulated)
}

/// Does what comes before the task, and notes what was there then.
async fn set_scene(begun: &mut Begun<'_>, printer: Printer) -> Result<(), CommandError> {
    for step in &begun.exercise.steps {
        match step {
            Step::Apply => {
                printer.say("… applying its site");
                apply_site(begun).await?;
            }
            Step::OnNode { command } => on_node(begun, command).await?,
            Step::Replace { file, old, new } => {
                let path = begun.folder.join(file);
                let text =
                    fs_err::read_to_string(&path).map_err(|e| CommandError::from_error("learn::step", &e))?;
                fs_err::write(&path, text.replacen(old, new, 1))
                    .map_err(|e| CommandError::from_error("learn::step", &e))?;
            }
        }
    }
    if begun.exercise.goals.iter().any(|goal| matches!(goal, Goal::CertificateRenewed { .. })) {
        let looked = opening::glance(&begun.global, begun.hushed()).await?;
        begun.record.certificates = certificates(&looked);
        looked.close().await;
    }
    begun.record.ready = true;
    begun.record.write(&begun.folder)
}

async fn apply_site(begun: &Begun<'_>) -> Result<(), CommandError> {
    let carrying = Carrying {
        chosen: Chosen::default(),
        allow_destroy: Vec::new(),
        shown: Shown::default(),
        deep: false,
        no_probe: false,
    };
    let options = Apply { file: None, again: false, carrying };
    apply::run(&begun.global, &options, begun.hushed()).await.map(|_| ())
}

/// Has somebody type a command on the lab's node.
async fn on_node(begun: &Begun<'_>, command: &[String]) -> Result<(), CommandError> {
    let loaded = opening::load(&begun.global, begun.hushed())?;
    let connection = opening::connect(&loaded.blueprint, &begun.global)?;
    let node = connection.ways.first().cloned();
    let command = Command::new("setting the scene", command.iter().cloned()).limit(SCENE);
    let ran = match node {
        Some(node) => node.run(&command).await.map_err(|e| CommandError::from_error("learn::step", &e)),
        None => Err(CommandError::failed("learn::step", "there is no way to run commands on the lab's node")),
    };
    connection.close().await;
    let output = ran?;
    if output.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(CommandError::failed(
        "learn::step",
        format!("a command on the lab's node failed: {}", foreign::line(said.trim())),
    )
    .hint(format!("phoenix-cli learn stop {0} --remove, then phoenix-cli learn start {0}", begun.name)))
}

/// Tells the task.
fn tell(begun: &Begun<'_>, goes_on: bool, printer: Printer) {
    let Begun { name, exercise, folder, record, .. } = begun;
    let simulated = record.simulated;
    if printer.json {
        let goals: Vec<String> = exercise.goals.iter().map(Goal::text).collect();
        printer.data_json(&json!({
            "exercise": name, "title": exercise.title, "page": exercise.page, "folder": folder, "simulated": simulated,
            "task": exercise.task, "goals": goals, "question": exercise.question(), "continued": goes_on,
        }));
        return;
    }
    let again = if goes_on { " (begun already; your files are as they were)" } else { "" };
    printer.data(format!("{}{again}\n\n{}\n\n", paint(Style::Strong, &exercise.title), exercise.task));
    if let Some(question) = exercise.question() {
        printer.data(format!("A question: {question}\n\n"));
    }
    let lab =
        if simulated { "simulated: guests are records, nothing runs in them" } else { "real containers" };
    printer.data(format!("folder: {folder}\nlab:    {lab}\npage:   docs/src/learn/{}", exercise.page));
    printer.say(format!("\nnext:\n  cd {folder}\n  phoenix-cli learn check\n  phoenix-cli learn hint"));
}

/// Refuses an exercise of which the scene is not set.
fn is_ready(begun: &Begun<'_>) -> Result<(), CommandError> {
    if begun.record.ready {
        return Ok(());
    }
    let what = format!("the exercise `{}` was not begun to the end", begun.name);
    Err(CommandError::usage("learn::not-ready", what).hint(format!("phoenix-cli learn start {}", begun.name)))
}

/// Whether its lab runs: a node that is gone would be waited for.
async fn runs(begun: &Begun<'_>) -> Result<(), CommandError> {
    let status = ::lab::up::status(&site::default_lab(&begun.folder)).await;
    if status.is_ok_and(|status| status.running) {
        return Ok(());
    }
    let what = format!("the lab of `{}` is not running", begun.name);
    Err(CommandError::failed("lab::not-running", what)
        .hint(format!("phoenix-cli learn start {}", begun.name)))
}

async fn check(begun: &Begun<'_>, options: &LearnCheck, printer: Printer) -> Outcome {
    is_ready(begun)?;
    let (goals, answer) = (&begun.exercise.goals, options.answer.as_deref());
    if answer.is_some() && begun.exercise.question().is_none() {
        let what = format!("the exercise `{}` asks nothing", begun.name);
        return Err(CommandError::usage("learn::no-question", what).hint("phoenix-cli learn check"));
    }
    let paper = opening::paper(&begun.global, begun.hushed());
    let asks = Goal::need_the_node(goals) || begun.exercise.question().is_some();
    let looked = match &paper {
        Ok(_) if asks => {
            runs(begun).await?;
            Some(opening::glance(&begun.global, begun.hushed()).await?)
        }
        _ => None,
    };
    let wanted = paper.as_ref().map(|paper| &paper.desired);
    let judged = judge(goals, &begun.record, wanted, looked.as_ref(), answer).await;
    if let Some(site) = &looked {
        site.close().await;
    }
    let judged = judged?;
    let done = judged.iter().all(|it| it.done);
    let mut record = begun.record.clone();
    let question = goals.iter().position(|goal| matches!(goal, Goal::Answer { .. }));
    record.answered |= question.and_then(|at| judged.get(at)).is_some_and(|it| it.done);
    record.done |= done;
    record.write(&begun.folder)?;
    let mut notebook = Notebook::read();
    notebook.current = Some(begun.name.to_owned());
    notebook.folders.insert(begun.name.to_owned(), begun.folder.clone());
    if done {
        notebook.done.entry(begun.name.to_owned()).or_insert_with(jiff::Timestamp::now);
    }
    notebook.write()?;
    if printer.json {
        let goals: Vec<_> =
            judged.iter().map(|it| json!({ "goal": it.text, "done": it.done, "why": it.why })).collect();
        printer.data_json(&json!({ "exercise": begun.name, "done": done, "goals": goals }));
    } else {
        for it in &judged {
            let (sign, style) = if it.done { ("✔", Style::Add) } else { ("✘", Style::Remove) };
            let why = foreign::line(&it.why);
            printer.data(format!("{} {}\n    {}", paint(style, sign), it.text, paint(Style::Dim, &why)));
        }
        printer.say(match done {
            true => format!("\n`{}` is done. To end it: phoenix-cli learn stop --remove", begun.name),
            false => "\nnot done yet; a hint: phoenix-cli learn hint".to_owned(),
        });
    }
    if done { Ok(0) } else { Err(already_reported(ErrorKind::Failed)) }
}

fn hint(begun: Begun<'_>, printer: Printer) -> Outcome {
    is_ready(&begun)?;
    let hints = &begun.exercise.hints;
    let mut record = begun.record;
    let all_given = record.hints >= hints.len();
    record.hints = (record.hints + 1).min(hints.len());
    record.write(&begun.folder)?;
    let given = hints.get(..record.hints).unwrap_or(hints);
    if printer.json {
        let json = json!({ "exercise": begun.name, "hints": given, "of": hints.len() });
        printer.data_json(&json);
        return Ok(0);
    }
    // The last one is the new one; when there is no new one, all are told once more.
    let from = if all_given { 0 } else { record.hints - 1 };
    for (number, hint) in given.iter().enumerate().skip(from) {
        printer.data(format!("hint {} of {}: {hint}", number + 1, hints.len()));
    }
    if all_given {
        printer.say("these are all hints");
    }
    Ok(0)
}

async fn stop(begun: &Begun<'_>, options: &LearnStop, printer: Printer) -> Outcome {
    lab::stop(&begun.global, &LabDown { all: false }, begun.hushed()).await?;
    let folder = &begun.folder;
    let question = format!("remove {folder}, with all that you wrote in it?");
    let remove =
        options.remove || (!printer.json && printer.can_ask() && consent::yes(&question, printer).is_ok());
    if remove {
        fs_err::remove_dir_all(folder).map_err(|e| CommandError::from_error("learn::record", &e))?;
        // The one around it, where this was the last exercise in it.
        if let Some(around) = folder.parent().filter(|around| around.file_name() == Some("phoenix-learn")) {
            let _ = fs_err::remove_dir(around);
        }
        let mut notebook = Notebook::read();
        notebook.folders.remove(begun.name);
        notebook.current.take_if(|name| name == begun.name);
        notebook.write()?;
    }
    if printer.json {
        printer.data_json(&json!({ "exercise": begun.name, "folder": folder, "removed": remove }));
        return Ok(0);
    }
    printer.say(format!("✔ the lab of `{}` is gone", begun.name));
    printer.say(match remove {
        true => format!("✔ removed {folder}"),
        false => format!(
            "{folder} is still there; to remove it: phoenix-cli learn stop {0} --remove; to go on: phoenix-cli learn start {0}",
            begun.name
        ),
    });
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_real_containers_says_so_before_anything_is_made() {
        let all = Exercise::all().unwrap();
        let (name, plain) = find(&all, "second-guest").unwrap();
        assert!(can_be_done(name, plain, true).is_ok());
        let real = Exercise { needs_real_containers: true, ..plain.clone() };
        let refused = can_be_done(name, &real, true).unwrap_err();
        assert_eq!(refused.code, "learn::needs-containers");
        // Where there can be none, the same.
        assert_eq!(can_be_done(name, &real, false).is_ok(), ::lab::up::check().is_ok());
    }

    #[test]
    fn a_name_that_is_nearly_right_is_guessed() {
        let all = Exercise::all().unwrap();
        let error = find(&all, "second-gest").unwrap_err();
        assert_eq!(error.code, "learn::unknown");
        assert!(error.hint.unwrap().contains("second-guest"));
    }
}
