//! Executions, Deployments and BulkUpdates in one overview.

mod objects;
mod tables;

use super::{
    arguments::{GetArguments, GetFormat, GetKind, ManifestFormat},
    named::Named,
    problem::{Problem, failed},
    session::{Parts, Selectors, Session},
};

pub async fn get(session: &Session, arguments: &GetArguments) -> Result<(), Problem> {
    let mut kinds = arguments.kinds.clone();
    if kinds.is_empty() {
        kinds.extend(GetKind::ALL);
    }
    match arguments.output {
        Some(GetFormat::Json | GetFormat::Yaml | GetFormat::Name) if arguments.watch => {
            Err(Problem::Usage("--watch shows a table: leave -o out, or use -o wide".into()))
        }
        Some(GetFormat::Json) => objects::print(session, &kinds, arguments, ManifestFormat::Json).await,
        Some(GetFormat::Yaml) => objects::print(session, &kinds, arguments, ManifestFormat::Yaml).await,
        Some(GetFormat::Name) => names(session, &kinds, arguments).await,
        None | Some(GetFormat::Wide) => tables::print(session, &kinds, arguments).await,
    }
}

async fn names(session: &Session, kinds: &[GetKind], arguments: &GetArguments) -> Result<(), Problem> {
    for kind in kinds {
        let labels = arguments.selector.as_deref();
        let selectors = Selectors { labels, parts: Parts::Metadata, ..Selectors::default() };
        let mut printed = Ok(());
        let url = kind.url(session.namespace.as_deref());
        let listed = session.list(&url, selectors, |named: Named| {
            if printed.is_ok() {
                printed = session.console.print(kind.qualified(&named.name));
            }
        });
        listed.await.map_err(|failure| {
            failed(format_args!("{} cannot be listed", kind.resource().plural), &failure)
        })?;
        printed?;
    }
    Ok(())
}
