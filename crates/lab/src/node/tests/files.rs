//! Files that come onto a storage: what the recordings of uploads and downloads show ("upload …", "download …").

use super::*;
use crate::node::Uploaded;

const URL: &str = "https://images.example.org/x.iso";
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const DOWNLOAD: &str = "/nodes/pve1/storage/local/download-url";

fn it() -> Asked {
    let it = Asked::new();
    it.world.runtime.publish(URL, "hello");
    it.world.runtime.offer("system", "alpine-3.22-default_20250617_amd64.tar.xz");
    it
}

fn sum(sum: &str) -> [(&str, &str); 2] {
    [("checksum", sum), ("checksum-algorithm", "sha256")]
}

async fn download(it: &Asked, name: &str, more: &[(&str, &str)]) -> String {
    let params = [&[("content", "iso"), ("filename", name), ("url", URL)], more].concat();
    it.task(Method::Post, DOWNLOAD, &params).await
}

#[tokio::test(start_paused = true)]
async fn downloads() {
    let it = it();
    assert_eq!(download(&it, "a.iso", &[]).await, "OK");
    assert_eq!(
        download(&it, "a.iso", &[]).await,
        "refusing to override existing file '/var/lib/vz/template/iso/a.iso'"
    );
    assert_eq!(download(&it, "b.iso", &sum(HELLO)).await, "OK");
    assert_eq!(
        download(&it, "c.iso", &sum(ZEROS)).await,
        format!("checksum mismatch: got '{HELLO}' != expect '{ZEROS}'")
    );
    let there = it.get("/nodes/pve1/storage/local/content").await;
    let isos: Vec<&Value> =
        there.as_array().unwrap().iter().filter(|line| line["content"] == "iso").collect();
    let names: Vec<&str> = isos.iter().filter_map(|line| line["volid"].as_str()).collect();
    assert_eq!(names, ["local:iso/a.iso", "local:iso/b.iso"]);
    assert_eq!((&isos[0]["format"], &isos[0]["size"]), (&"iso".into(), &5.into()));

    let params = |content, name, url| [("content", content), ("filename", name), ("url", url)];
    let wrong =
        async |params: &[(&str, &str)]| it.call(Method::Post, DOWNLOAD, params).await.body["errors"].clone();
    assert_eq!(wrong(&params("iso", "x.txt", URL)).await["filename"], "wrong file extension");
    assert_eq!(
        wrong(&params("iso", "x.iso", "file:///etc/passwd")).await["url"],
        "value does not match the regex pattern"
    );
    assert_eq!(
        wrong(&params("snippets", "x.yaml", URL)).await["content"],
        "value 'snippets' does not have a value in the enumeration 'iso, vztmpl, import'"
    );
    let lone = [&params("iso", "x.iso", URL)[..], &[("checksum", HELLO)]].concat();
    assert_eq!(wrong(&lone).await["checksum-algorithm"], "missing property required by 'checksum'");
    let nowhere = it.task(Method::Post, DOWNLOAD, &params("iso", "x.iso", "http://nope.invalid/x.iso")).await;
    assert_eq!(nowhere, "download failed: wget: unable to resolve host address 'nope.invalid'");
    let gone =
        it.task(Method::Post, DOWNLOAD, &params("iso", "x.iso", "https://images.example.org/none")).await;
    assert_eq!(gone, "download failed: exit code 8");
    let image = it.task(Method::Post, DOWNLOAD, &params("import", "x.qcow2", URL)).await;
    assert!(image.starts_with("failed to verify file: qemu-img: Could not open "), "{image}");

    let to = async |storage: &str| {
        let path = format!("/nodes/pve1/storage/{storage}/download-url");
        it.call(Method::Post, &path, &params("iso", "x.iso", URL)).await
    };
    // Recorded with a token that may do everything on every storage.
    refused(&to("nope").await, 500, "storage 'nope' does not exist");
    refused(&to("tank").await, 500, "storage 'tank' is not configured for content-type 'iso'");
}

/// Recorded: "download by PVEAdmin".
#[tokio::test(start_paused = true)]
async fn a_download_takes_more_than_the_storage() {
    let it = it();
    it.world.node.set_role("Phoenix", "Datastore.AllocateTemplate,Datastore.Audit");
    let params = [("content", "iso"), ("filename", "x.iso"), ("url", URL)];
    refused(&it.call(Method::Post, DOWNLOAD, &params).await, 403, "Permission check failed");
    it.world.node.set_role("Phoenix", "Datastore.AllocateTemplate,Datastore.Audit,Sys.AccessNetwork");
    assert_eq!(it.call(Method::Post, DOWNLOAD, &params).await.status, 200);
    it.world.node.set_role("Phoenix", "Datastore.Audit,Sys.AccessNetwork");
    let said = "Permission check failed (/storage/local, Datastore.AllocateTemplate)";
    refused(&it.call(Method::Post, DOWNLOAD, &params).await, 403, said);
}

#[tokio::test(start_paused = true)]
async fn uploads() {
    let it = it();
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(folder.path().join("file")).unwrap();
    let upload = async |params: &[(&str, &str)]| {
        fs_err::write(&path, "hello").unwrap();
        let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let request =
            Request { method: Method::Post, path: "/nodes/pve1/storage/local/upload".into(), params };
        let file = Uploaded { path: path.clone(), passing: true };
        let answer = it.world.node.handle_upload(&it.auth, &request, file).await;
        let end = match answer.body["data"].as_str() {
            Some(upid) => it.world.node.task_end(upid).await.unwrap(),
            None => answer.body["errors"].to_string(),
        };
        assert!(!path.exists(), "what came is taken away again");
        end
    };
    let iso = |name| vec![("content", "iso"), ("filename", name)];
    assert_eq!(upload(&iso("a.iso")).await, "OK");
    // The same name again replaces it.
    assert_eq!(upload(&[iso("a.iso"), sum(HELLO).to_vec()].concat()).await, "OK");
    assert_eq!(
        upload(&[iso("b.iso"), sum(ZEROS).to_vec()].concat()).await,
        format!("checksum mismatch: got '{HELLO}' != expect '{ZEROS}'")
    );
    assert_eq!(upload(&iso("rec x.iso")).await, "OK");
    assert!(upload(&iso("x.txt")).await.contains("wrong file extension"));
    let image = upload(&[("content", "import"), ("filename", "x.qcow2")]).await;
    assert!(image.starts_with("qemu-img: Could not open "), "{image}");
    let names: Vec<String> =
        it.world.node.kept_files().into_keys().filter(|volume| volume.contains(":iso/")).collect();
    assert_eq!(names, ["local:iso/a.iso", "local:iso/rec_x.iso"]);
    // To remove it takes more than the role has.
    let root = Auth::root();
    let path = "/nodes/pve1/storage/local/content/local:iso%2Fa.iso".to_owned();
    let request = Request { method: Method::Delete, path, params: Vec::new() };
    let answer = it.world.node.handle(&root, &request).await;
    it.world.node.task_end(answer.body["data"].as_str().unwrap()).await.unwrap();
    assert!(!it.world.node.kept_files().contains_key("local:iso/a.iso"));
}

#[tokio::test(start_paused = true)]
async fn templates_of_the_catalogue() {
    let it = it();
    let path = "/nodes/pve1/aplinfo";
    let list = it.get(path).await;
    assert_eq!(list[0]["template"], "alpine-3.22-default_20250617_amd64.tar.xz");
    assert_eq!((&list[0]["section"], &list[0]["type"]), (&"system".into(), &"lxc".into()));
    let fetch = |template| [("storage", "local"), ("template", template)];
    let none = it.call(Method::Post, path, &fetch("nope.tar.zst")).await;
    assert_eq!(none.body["errors"]["template"], "no such template");
    let to = [("storage", "nope"), ("template", "alpine-3.22-default_20250617_amd64.tar.xz")];
    refused(&it.call(Method::Post, path, &to).await, 500, "storage 'nope' does not exist");
    assert_eq!(it.task(Method::Post, path, &fetch("alpine-3.22-default_20250617_amd64.tar.xz")).await, "OK");
    assert!(
        it.world.node.kept_files().contains_key("local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz")
    );
}
