//! A panic of the engine ends the process in which it happens, as it would anywhere, and not the
//! run that has to judge it (rule G8).
//!
//! It refuses to hide what goes wrong in the harness: a panic of that ends the run.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::task::Poll;

use backdate_reports::recording::CrashCause;
use smol_str::{SmolStr, format_smolstr};

use crate::world::Process;

/// Where the source of the engine lies, as the compiler names it.
const ENGINE: &str = "engine/";

thread_local! {
    /// Whether code of the engine runs.
    static LISTENS: Cell<bool> = const { Cell::new(false) };
    /// Where that code has panicked.
    static PLACE: RefCell<Option<SmolStr>> = const { RefCell::new(None) };
}

/// Runs code of the engine in its process.
pub(super) async fn contained(process: Process, code: impl Future<Output = ()>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(listen);
    let mut code = std::pin::pin!(code);
    poll_fn(|context| {
        // Of a panic that the code has caught itself.
        PLACE.set(None);
        LISTENS.set(true);
        let polled = panic::catch_unwind(AssertUnwindSafe(|| code.as_mut().poll(context)));
        LISTENS.set(false);
        let payload = match polled {
            Ok(polled) => return polled,
            Err(payload) => payload,
        };
        let Some(place) = PLACE.take() else { panic::resume_unwind(payload) };
        process.die(CrashCause::Panic { message: message(payload.as_ref()), place });
        // The process dies when this returns, and what it runs is never polled again.
        Poll::Pending
    })
    .await;
}

/// From now on panics of the engine are noted, and all others told as before.
fn listen() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |info| match info.location() {
        Some(location) if LISTENS.get() && is_of_engine(location.file()) => {
            let place = format_smolstr!("{}:{}", location.file(), location.line());
            PLACE.set(Some(place));
        }
        _ => tell(info),
    }));
}

/// Whether the engine has panicked. What a library panics with is told of the engine's line if the
/// library blames its caller, and ends the run otherwise: nobody can say then whose fault it is.
fn is_of_engine(file: &str) -> bool {
    file.starts_with(ENGINE)
}

fn message(payload: &(dyn Any + Send)) -> SmolStr {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").into()
}

#[test]
fn only_source_of_the_engine_is_of_the_engine() {
    assert!(is_of_engine("engine/src/services/replayer.rs"));
    for file in ["sim/src/kafka/mod.rs", "reports/src/lib.rs", "/lib/axum-0.8/src/lib.rs"] {
        assert!(!is_of_engine(file), "{file}");
    }
}
