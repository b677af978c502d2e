//! Folders and files of a feature, with what they hold.

use blueprint::catalog::{FileSpec, FolderSpec, ParameterType};
use blueprint::model::SiteFile;
use serde_json::Value;

use super::super::content::Content;
use super::super::error::RenderError;
use super::super::rendered::{Rendered, RenderedFile, RenderedFolder, RenderedPrune};
use super::{Renderer, SECRET, bad_path};

impl Renderer<'_> {
    /// What `{{ name }}` names, if that is a parameter of one of these types.
    fn files_of(&self, from: &str, kinds: &[ParameterType]) -> Option<&[SiteFile]> {
        let name = from.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
        let (name, _) = (self.feature.spec.parameters.iter())
            .find(|(n, p)| n.replace('-', "_") == name.replace('-', "_") && kinds.contains(&p.kind))?;
        Some(self.contents.get(name).map_or(&[], Vec::as_slice))
    }

    pub(super) fn folder(
        &self,
        place: &str,
        spec: &FolderSpec,
        out: &mut Rendered,
    ) -> Result<(), RenderError> {
        let path = self.path(&format!("{place}.path"), &spec.path, None)?;
        if path.is_empty() {
            return Ok(());
        }
        let mode = self.mode(&format!("{place}.mode"), spec.mode.as_deref())?;
        let owner = self.owner(&format!("{place}.owner"), spec.owner.as_deref())?;
        let reloads = self.units(&format!("{place}.reloads"), &spec.reloads)?;
        let restarts = self.units(&format!("{place}.restarts"), &spec.restarts)?;
        let runs = self.runs(&format!("{place}.runs"), &spec.runs)?;
        let check = (spec.check.as_ref())
            .map(|text| self.text(&format!("{place}.check"), text, None))
            .transpose()?
            .filter(|check| !check.is_empty());
        out.folders.push(RenderedFolder { path: path.clone(), mode, owner: owner.clone() });
        if let Some(from) = &spec.from {
            let own;
            let files: &[SiteFile] = match self.files_of(from, &[ParameterType::Folder]) {
                Some(files) => files,
                None => {
                    own = self.own_folder(place, from)?;
                    &own
                }
            };
            for file in files {
                let target = format!("{path}/{}", file.path);
                if let Some(reason) = bad_path(&target) {
                    return Err(self.bad(place, format!("{reason}: `{target}`")));
                }
                out.files.push(RenderedFile {
                    path: target,
                    content: Content::from(file.bytes.clone()),
                    template: false,
                    mode: if file.executable { 0o755 } else { 0o644 },
                    owner: owner.clone().unwrap_or_else(|| "root:root".to_owned()),
                    block: None,
                    check: check.clone(),
                    one_of_many: false,
                    reloads: reloads.clone(),
                    restarts: restarts.clone(),
                    runs: runs.clone(),
                    at_restart: false,
                });
            }
        }
        if spec.prune.unwrap_or(spec.from.is_some()) {
            out.prunes.push(RenderedPrune {
                folder: path,
                pattern: None,
                reloads,
                restarts,
                runs,
                at_restart: false,
            });
        }
        Ok(())
    }

    /// A folder of the feature's own.
    fn own_folder(&self, place: &str, from: &str) -> Result<Vec<SiteFile>, RenderError> {
        let name = self.text(&format!("{place}.from"), from, None)?;
        let prefix = format!("{}/", name.trim_end_matches('/'));
        let files: Vec<SiteFile> = (self.feature.files.iter())
            .filter_map(|(path, file)| {
                Some(SiteFile { path: path.strip_prefix(&prefix)?.to_owned(), ..file.clone() })
            })
            .collect();
        if files.is_empty() {
            return Err(
                self.bad(place, format!("takes the folder `{name}`, which the feature does not have"))
            );
        }
        Ok(files)
    }

    pub(super) fn file(&self, place: &str, spec: &FileSpec, out: &mut Rendered) -> Result<(), RenderError> {
        let Some(each) = &spec.each else {
            if let Some(file) = self.one_file(place, spec, None)? {
                out.files.push(file);
            }
            return Ok(());
        };
        for item in self.items(place, each)? {
            out.files.extend(self.one_file(place, spec, Some(item))?);
        }
        if let Some(pattern) = &spec.prune {
            let pattern = self.text(&format!("{place}.prune"), pattern, None)?;
            if pattern.is_empty() || pattern.contains(['/', '\n']) {
                return Err(self.bad(place, format!("prunes by something that is no file name: `{pattern}`")));
            }
            // The list may be empty, so the folder is worked out without an element of it.
            let folder = spec.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            out.prunes.push(RenderedPrune {
                folder: self.path(&format!("{place}.path"), folder, None)?,
                pattern: Some(pattern),
                reloads: self.units(place, &spec.reloads)?,
                restarts: self.units(place, &spec.restarts)?,
                runs: self.runs(place, &spec.runs)?,
                at_restart: !spec.counts.is_at_once(),
            });
        }
        Ok(())
    }

    fn one_file(
        &self,
        place: &str,
        spec: &FileSpec,
        item: Option<&Value>,
    ) -> Result<Option<RenderedFile>, RenderError> {
        let path = self.path(&format!("{place}.path"), &spec.path, item)?;
        if path.is_empty() {
            return Ok(None);
        }
        let (content, template, executable) = self.content(place, spec, item)?;
        let block =
            spec.block.as_ref().map(|word| self.text(&format!("{place}.block"), word, item)).transpose()?;
        if let Some(word) = &block
            && (word.is_empty() || !word.bytes().all(|b| b.is_ascii_alphanumeric() || b" ._-".contains(&b)))
        {
            return Err(self.bad(place, format!("has a block that is no word: `{word}`")));
        }
        if block.is_some() && std::str::from_utf8(content.bytes()).is_err() {
            return Err(self.bad(place, "has a block that is not text"));
        }
        let check =
            spec.check.as_ref().map(|text| self.text(&format!("{place}.check"), text, item)).transpose()?;
        let mode = self.mode(&format!("{place}.mode"), spec.mode.as_deref())?;
        Ok(Some(RenderedFile {
            path,
            content,
            template,
            mode: mode.unwrap_or(if executable { 0o755 } else { 0o644 }),
            owner: (self.owner(&format!("{place}.owner"), spec.owner.as_deref())?)
                .unwrap_or_else(|| "root:root".to_owned()),
            block,
            check: check.filter(|check| !check.is_empty()),
            one_of_many: item.is_some(),
            reloads: self.units(place, &spec.reloads)?,
            restarts: self.units(place, &spec.restarts)?,
            runs: self.runs(place, &spec.runs)?,
            at_restart: !spec.counts.is_at_once(),
        }))
    }

    /// What a file holds, whether placeholders in it count, and whether it can be executed.
    fn content(
        &self,
        place: &str,
        spec: &FileSpec,
        item: Option<&Value>,
    ) -> Result<(Content, bool, bool), RenderError> {
        let own = |name: &str| {
            (self.feature.files.get(name)).ok_or_else(|| {
                self.bad(place, format!("takes the file `{name}`, which the feature does not have"))
            })
        };
        match (&spec.template, &spec.from, &spec.content) {
            (Some(template), None, None) => {
                let file = own(template)?;
                let source = std::str::from_utf8(&file.bytes).map_err(|_| {
                    self.bad(place, format!("has the template `{template}`, which is not text"))
                })?;
                if source.contains(SECRET) {
                    return Err(self.bad(place, format!("has a template that holds `{SECRET}`")));
                }
                Ok((self.template(template, source, item)?.into(), true, file.executable))
            }
            (None, Some(from), None) => {
                let file = match self.files_of(from, &[ParameterType::File]) {
                    Some([file]) => file,
                    Some(_) => return Err(self.bad(place, format!("takes `{from}`, which is not one file"))),
                    None => own(&self.text(&format!("{place}.from"), from, item)?)?,
                };
                Ok((Content::from(file.bytes.clone()), false, file.executable))
            }
            (None, None, Some(source)) => {
                let text = self.template(&format!("feature.json: {place}.content"), source, item)?;
                Ok((text.into(), true, false))
            }
            _ => Err(self.bad(place, "must have one of template, from and content")),
        }
    }
}
