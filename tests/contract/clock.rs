//! What a clock promises.

use std::time::Duration;

use backdate_engine::ports::clock::Clock;

use super::contract;
use super::site::Site;

contract!(clock(ClockSettings):
    sleeps_last as a_sleep_lasts_at_least_as_long;
    sleeps_end_in_order as shorter_sleeps_end_first;
    now_advances as now_advances_with_sleep;
);

async fn sleeps_last<S: Site>(site: S) {
    for ms in [1, 5, 40] {
        let before = site.clock().now();
        site.clock().sleep(Duration::from_millis(ms)).await;
        let passed = site.clock().now().micros() - before.micros();
        // The wall clock of a machine may be set a little during the test, the sleep may not end
        // early: a tenth is more than any correction and less than any real shortening.
        assert!(passed >= ms as i64 * 900, "{passed} us instead of {ms} ms");
    }
}

async fn sleeps_end_in_order<S: Site>(site: S) {
    let ended = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    for ms in [60, 20, 40, 0] {
        let (ended, task) = (ended.clone(), site.clone());
        site.spawn(async move {
            task.sleep(ms).await;
            ended.borrow_mut().push(ms);
        });
    }
    site.sleep(200).await;
    assert_eq!(*ended.borrow(), [0, 20, 40, 60]);
}

async fn now_advances<S: Site>(site: S) {
    let mut last = site.clock().now();
    for _ in 0..5 {
        site.sleep(2).await;
        let now = site.clock().now();
        assert!(now > last, "{now:?} after {last:?}");
        last = now;
    }
    assert!(
        last.date() >= backdate_engine::domain::time::Date::parse("2025-01-01").expect("a date")
    );
}
