//! A panic of the engine ends the process in which it happens, as it would anywhere, and not the
//! run that has to judge it (rule G8).
//!
//! It refuses to hide what goes wrong in the harness: a panic of that ends the run.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::Once;
use std::task::Poll;

use backdate_reports::recording::CrashCause;
use smol_str::{SmolStr, format_smolstr};

use crate::world::Process;

/// Where the source of the harness lies.
const HARNESS: [&str; 2] = ["sim/", "reports/"];

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
        Some(location) if LISTENS.get() && is_of_engine(location) => {
            let place = format_smolstr!("{}:{}", location.file(), location.line());
            PLACE.set(Some(place));
        }
        _ => tell(info),
    }));
}

fn is_of_engine(location: &Location<'_>) -> bool {
    !HARNESS.iter().any(|folder| location.file().starts_with(folder))
}

fn message(payload: &(dyn Any + Send)) -> SmolStr {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").into()
}
