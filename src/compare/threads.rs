//! Work on several threads, its results in the order in which one thread would have come to them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::CompareError;

/// Threads that read drives: each holds a decoder of its own.
const READERS_MAX: usize = 4;

/// Does `work` for each of `0..count`, several at a time. Where some of it fails, the first error by number is returned.
pub(super) fn side_by_side<T: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T, CompareError> + Sync,
) -> Result<Vec<T>, CompareError> {
    let done: Vec<Mutex<Option<Result<T, CompareError>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let worker = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = done.get(number) else { return };
            let result = work(number);
            if let Ok(mut place) = place.lock() {
                *place = Some(result);
            }
        }
    };
    thread::scope(|scope| {
        (1..count.min(READERS_MAX)).for_each(|_| drop(scope.spawn(worker)));
        worker();
    });
    done.into_iter().filter_map(|place| place.into_inner().ok().flatten()).collect()
}

/// Makes `count` things one after the other on a thread of their own and hands each to `take`, in order, while the next one is
/// made: two of them exist at a time.
pub(super) fn one_ahead<T: Send>(
    count: usize,
    mut make: impl FnMut(usize) -> Result<T, CompareError> + Send,
    mut take: impl FnMut(T) -> Result<(), CompareError>,
) -> Result<(), CompareError> {
    thread::scope(|scope| {
        let (hand, things) = sync_channel(0);
        scope.spawn(move || (0..count).map(&mut make).any(|thing| is_last(&hand, thing)));
        things.into_iter().try_for_each(|thing| take(thing?))
    })
}

/// As [`one_ahead`], in two steps: what `make` made goes through `refine` on a further thread, and four things exist at a time.
pub(super) fn two_ahead<T: Send, U: Send>(
    count: usize,
    mut make: impl FnMut(usize) -> Result<T, CompareError> + Send,
    refine: impl Fn(T) -> U + Send,
    mut take: impl FnMut(U) -> Result<(), CompareError>,
) -> Result<(), CompareError> {
    thread::scope(|scope| {
        let (hand, things) = sync_channel(0);
        let (pass, refined) = sync_channel(0);
        scope.spawn(move || (0..count).map(&mut make).any(|thing| is_last(&hand, thing)));
        scope.spawn(move || things.into_iter().any(|thing| is_last(&pass, thing.map(&refine))));
        refined.into_iter().try_for_each(|thing| take(thing?))
    })
}

/// Hands a thing on, and returns whether nobody wants the next: behind an error, or where whoever takes them stopped at one of its own.
fn is_last<T>(hand: &SyncSender<Result<T, CompareError>>, thing: Result<T, CompareError>) -> bool {
    let failed = thing.is_err();
    hand.send(thing).is_err() || failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_of_several_errors_the_first() {
        assert_eq!(side_by_side(9, |number| Ok(number * 2)).unwrap(), [0, 2, 4, 6, 8, 10, 12, 14, 16]);
        let failing = |number: usize| match number {
            3.. => Err(CompareError::Vanished { sequence: number as i64 }),
            _ => Ok(()),
        };
        assert!(matches!(side_by_side(9, failing), Err(CompareError::Vanished { sequence: 3 })));
        assert_eq!(side_by_side(0, failing).unwrap(), []);
    }

    #[test]
    fn what_is_made_ahead_comes_in_order_until_somebody_fails() {
        let vanished = |number: usize| CompareError::Vanished { sequence: number as i64 };
        for (fails_making, fails_taking) in [(usize::MAX, usize::MAX), (5, usize::MAX), (usize::MAX, 3), (3, 3)] {
            let make = |number: usize| if number == fails_making { Err(vanished(number)) } else { Ok(number) };
            let through = fails_making.min(fails_taking).min(8);
            for steps in [1, 2] {
                let mut taken = Vec::new();
                let mut take = |number: usize| {
                    if number == fails_taking {
                        return Err(vanished(number));
                    }
                    taken.push(number);
                    Ok(())
                };
                let result = match steps {
                    1 => one_ahead(8, make, &mut take),
                    _ => two_ahead(8, make, |number| number, &mut take),
                };
                assert_eq!(taken, (0..through).collect::<Vec<_>>());
                assert_eq!(result.is_err(), through < 8);
            }
        }
    }
}
