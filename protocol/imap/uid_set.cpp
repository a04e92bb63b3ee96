// protocol/imap/uid_set: see the header.
#include "protocol/imap/uid_set.hpp"

#include <algorithm>
#include <charconv>

namespace mailherd::imap {

uid_set uid_set::span(mailherd::uid first, mailherd::uid last) {
  uid_set s;
  if (first.value != 0) s.ranges_.push_back({first.value, last.value});
  return s;
}

std::optional<uid_set> uid_set::parse(std::string_view text, std::size_t most) {
  uid_set s;
  const char* p = text.data();
  const char* const end = p + text.size();
  const auto number = [&](std::uint32_t& out) {
    const auto [next, ec] = std::from_chars(p, end, out);
    if (ec != std::errc{} || out == 0) return false;
    p = next;
    return true;
  };
  if (p == end) return std::nullopt;
  while (true) {
    range r;
    if (!number(r.first)) return std::nullopt;
    r.last = r.first;
    if (p != end && *p == ':') {
      ++p;
      if (!number(r.last)) return std::nullopt;
      if (r.last < r.first) std::swap(r.first, r.last);
    }
    if (s.ranges_.size() >= most) return std::nullopt;
    s.ranges_.push_back(r);
    if (p == end) break;
    if (*p != ',') return std::nullopt;
    ++p;
  }
  return of(std::move(s.ranges_));
}

uid_set uid_set::of(std::vector<range> ranges) {
  const auto by_first = [](const range& a, const range& b) { return a.first < b.first; };
  if (!std::is_sorted(ranges.begin(), ranges.end(), by_first)) std::sort(ranges.begin(), ranges.end(), by_first);
  std::size_t kept = 0;
  for (const auto& r : ranges) {
    // Written so that nothing overflows behind the last UID there can be.
    if (kept > 0 && r.first - 1 <= ranges[kept - 1].last) {
      ranges[kept - 1].last = std::max(ranges[kept - 1].last, r.last);
    } else {
      ranges[kept++] = r;
    }
  }
  ranges.resize(kept);
  uid_set s;
  s.ranges_ = std::move(ranges);
  return s;
}

void uid_set::add(mailherd::uid u) {
  if (u.value == 0) return;
  if (!ranges_.empty() && u.value - 1 == ranges_.back().last) {
    ranges_.back().last = u.value;
    return;
  }
  if (ranges_.empty() || u.value > ranges_.back().last) {
    ranges_.push_back({u.value, u.value});
    return;
  }
  if (contains(u)) return;
  const auto after = std::find_if(ranges_.begin(), ranges_.end(), [&](const range& r) { return r.first > u.value; });
  const auto at = static_cast<std::size_t>(after - ranges_.begin());
  const bool joins_left = at > 0 && ranges_[at - 1].last == u.value - 1;
  const bool joins_right = after != ranges_.end() && after->first - 1 == u.value;
  if (joins_left && joins_right) {
    ranges_[at - 1].last = ranges_[at].last;
    ranges_.erase(after);
  } else if (joins_left) {
    ranges_[at - 1].last = u.value;
  } else if (joins_right) {
    ranges_[at].first = u.value;
  } else {
    ranges_.insert(after, {u.value, u.value});
  }
}

bool uid_set::contains(mailherd::uid u) const {
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), u.value, [](std::uint32_t value, const range& r) { return value < r.first; });
  if (after == ranges_.begin() || u.value == 0) return false;
  const auto& r = *std::prev(after);
  return r.last == 0 || u.value <= r.last;
}

std::uint64_t uid_set::size() const {
  std::uint64_t n = 0;
  for (const auto& r : ranges_) n += std::uint64_t{r.last} - r.first + 1;
  return n;
}

std::string uid_set::to_string() const {
  std::string out;
  for (const auto& r : ranges_) {
    if (!out.empty()) out += ',';
    out += std::to_string(r.first);
    if (r.last == 0) {
      out += ":*";
    } else if (r.last != r.first) {
      out += ':' + std::to_string(r.last);
    }
  }
  return out;
}

}  // namespace mailherd::imap
