//! The event buffer of a server: the newest lines, where a subscription starts in it, and who is too slow for it.
//!
//! After Nomad's `nomad/stream/event_buffer.go`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::line::Line;

/// The number of a line in the order of writing, over all lines that a server ever had. Unlike a Raft index it is unique.
pub(super) type Serial = u64;

/// The buffer.
#[derive(Debug)]
pub(super) struct History {
    lines: VecDeque<Arc<Line>>,
    /// Serial of the first line in `lines`.
    head: Serial,
    /// The head when the buffer last overflowed. Whoever took his last line from before it is too slow.
    overflowed_to: Serial,
    capacity: usize,
}

/// What a subscription finds when it asks for its next line.
#[derive(Debug)]
pub(super) enum Found {
    /// The next line.
    Line(Arc<Line>),
    /// There is none yet.
    Nothing,
    /// The reader's place was evicted.
    Dropped,
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The line it needs next.
    pub(super) next: Serial,
    /// Whether it has taken the line before that.
    pub(super) holds_one: bool,
}

impl History {
    /// A buffer of the configured size, which really keeps one line more: the empty item that a new buffer begins with is
    /// evicted first.
    pub(super) fn new(buffer_size: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            head: 0,
            overflowed_to: 0,
            capacity: buffer_size.saturating_add(1),
        }
    }

    /// Adds a line and evicts the oldest if there is no room.
    pub(super) fn push(&mut self, line: Arc<Line>) {
        self.lines.push_back(line);
        if self.lines.len() > self.capacity {
            self.lines.pop_front();
            self.head += 1;
            self.overflowed_to = self.head;
        }
    }

    /// Forgets all lines whose index is below `index`.
    pub(super) fn evict_to(&mut self, index: u64) {
        while self.lines.front().is_some_and(|line| line.index < index) {
            self.lines.pop_front();
            self.head += 1;
        }
    }

    /// Forgets the oldest lines, whatever their index.
    pub(super) fn evict_lines(&mut self, count: usize) {
        let count = count.min(self.lines.len());
        self.lines.drain(..count);
        self.head += count as Serial;
    }

    /// Forgets everything.
    pub(super) fn evict_all(&mut self) {
        self.head = self.end();
        self.lines.clear();
    }

    /// Serial of the line that will be written next.
    pub(super) fn end(&self) -> Serial {
        self.head + self.lines.len() as Serial
    }

    /// Where a subscription from `index` starts: at the first line that is not below it, else at the last line, else it waits.
    pub(super) fn start_at(&self, index: u64) -> Place {
        let reached = self.lines.iter().position(|line| line.index >= index);
        let at = reached.unwrap_or(self.lines.len().saturating_sub(1));
        Place {
            next: self.head + at as Serial,
            holds_one: false,
        }
    }

    /// The line for a reader at `place`.
    ///
    /// Nomad drops a reader whose *last* line was evicted, though the next be still there: the list is linked forwards. Forgetting
    /// by [`evict_to`](Self::evict_to), which no real server does, drops only who misses a line by it.
    pub(super) fn find(&self, place: Place) -> Found {
        if place.next >= self.end() {
            return Found::Nothing;
        }
        let oldest_needed = place.next - Serial::from(place.holds_one && place.next > 0);
        if oldest_needed < self.overflowed_to || place.next < self.head {
            return Found::Dropped;
        }
        let at = usize::try_from(place.next - self.head).ok();
        match at.and_then(|at| self.lines.get(at)) {
            Some(line) => Found::Line(Arc::clone(line)),
            None => Found::Nothing,
        }
    }

    /// Serial after the last line whose index is at most `index`, once `index` is reached.
    pub(super) fn end_of_index(&self, index: u64) -> Option<Serial> {
        self.lines.back().filter(|last| last.index >= index)?;
        let above = self.lines.iter().position(|line| line.index > index);
        Some(above.map_or(self.end(), |at| self.head + at as Serial))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn history(buffer_size: usize, indexes: &[u64]) -> History {
        let mut history = History::new(buffer_size);
        for &index in indexes {
            history.push(Arc::new(Line::opaque(index, Bytes::new())));
        }
        history
    }

    fn indexes_from(history: &History, index: u64) -> Vec<u64> {
        let mut place = history.start_at(index);
        let mut found = Vec::new();
        while let Found::Line(line) = history.find(place) {
            found.push(line.index);
            place.next += 1;
            place.holds_one = true;
        }
        found
    }

    #[test]
    fn start_position_follows_nomads_table() {
        let buffer = history(20, &[8, 13, 17, 17, 20]);
        let table: [(u64, &[u64]); 9] = [
            (0, &[8, 13, 17, 17, 20]),
            // Older than the head: the head, without a mark.
            (1, &[8, 13, 17, 17, 20]),
            (8, &[8, 13, 17, 17, 20]),
            // Present: inclusive, and both lines of it.
            (13, &[13, 17, 17, 20]),
            (17, &[17, 17, 20]),
            // Between two: the next higher.
            (14, &[17, 17, 20]),
            (20, &[20]),
            // Beyond the end: the last line again.
            (21, &[20]),
            (i64::MAX as u64, &[20]),
        ];
        for (index, expected) in table {
            assert_eq!(indexes_from(&buffer, index), expected, "index={index}");
        }
    }

    #[test]
    fn empty_buffer_waits_and_then_delivers_whatever_comes() {
        let mut buffer = history(20, &[]);
        for index in [0, 24] {
            assert!(matches!(
                buffer.find(buffer.start_at(index)),
                Found::Nothing
            ));
        }
        let place = buffer.start_at(24);
        buffer.push(Arc::new(Line::opaque(8, Bytes::new())));
        assert!(matches!(buffer.find(place), Found::Line(line) if line.index == 8));
    }

    #[test]
    fn size_n_keeps_n_plus_one_lines_and_can_cut_an_index_in_half() {
        assert_eq!(indexes_from(&history(2, &[9, 9, 10]), 0), [9, 9, 10]);
        assert_eq!(indexes_from(&history(2, &[9, 9, 10, 11]), 0), [9, 10, 11]);
    }

    #[test]
    fn reader_whose_last_line_was_evicted_is_dropped_though_the_next_is_there() {
        let mut buffer = history(1, &[1, 2]);
        let holds_the_first = Place {
            next: 1,
            holds_one: true,
        };
        let begins_at_the_second = Place {
            next: 1,
            holds_one: false,
        };
        buffer.push(Arc::new(Line::opaque(3, Bytes::new())));
        assert!(matches!(buffer.find(holds_the_first), Found::Dropped));
        assert!(matches!(buffer.find(begins_at_the_second), Found::Line(line) if line.index == 2));
    }

    #[test]
    fn forgetting_drops_only_readers_that_miss_a_line_by_it() {
        let mut buffer = history(20, &[1, 2, 3]);
        let at_the_end = Place {
            next: 3,
            holds_one: true,
        };
        let one_behind = Place {
            next: 2,
            holds_one: true,
        };
        buffer.evict_to(3);
        assert_eq!(indexes_from(&buffer, 0), [3]);
        assert!(matches!(buffer.find(one_behind), Found::Line(line) if line.index == 3));
        buffer.evict_all();
        assert_eq!(buffer.end(), 3);
        buffer.push(Arc::new(Line::opaque(4, Bytes::new())));
        assert!(matches!(buffer.find(one_behind), Found::Dropped));
        assert!(matches!(buffer.find(at_the_end), Found::Line(line) if line.index == 4));
    }

    #[test]
    fn forgetting_by_count_leaves_half_an_index() {
        let mut buffer = history(20, &[8, 13, 13, 17]);
        buffer.evict_lines(2);
        assert_eq!(indexes_from(&buffer, 13), [13, 17]);
        buffer.evict_lines(9);
        assert_eq!(buffer.end(), 4);
        assert!(matches!(buffer.find(buffer.start_at(13)), Found::Nothing));
    }

    #[test]
    fn end_of_an_index_is_behind_all_its_lines() {
        let buffer = history(20, &[8, 17, 17, 20]);
        let table = [
            (7, Some(0)),
            (8, Some(1)),
            (17, Some(3)),
            (19, Some(3)),
            (20, Some(4)),
            (21, None),
        ];
        for (index, expected) in table {
            assert_eq!(buffer.end_of_index(index), expected, "index {index}");
        }
        assert_eq!(history(20, &[]).end_of_index(0), None);
    }
}
