// storage/admin_support: what the parts of the API's store share: the first wall, cursors of lists, patterns.
//
// Owns:   nothing. Never:  talks to the database.
// Used by: storage/admin_*.cpp only.
#pragma once

#include <string>
#include <string_view>

#include "storage/connection.hpp"
#include "storage/store.hpp"

namespace mailherd::store {

/// The first wall. The second one is the transaction's scope, which is the tenant as well, for operators too.
inline bool may(const caller& who, tenant_id tenant) { return !who.only || *who.only == tenant; }

/// The same words whether it is somebody else's or nobody's.
inline tl::unexpected<error> missing() { return fail(failure::not_found, "There is no such object."); }

/// The id after which a page begins, 0 for the first page.
template <class Id>
result<std::int64_t> page_start(const std::string& after) {
  if (after.empty()) return 0;
  const auto id = parse_id<Id>(after);
  if (!id) return fail(failure::invalid_input, "after: must be the `next` of an earlier page");
  return id->value;
}

/// Of limit + 1 rows that were asked for the last only says that there are more.
template <class T>
page<T> cut_page(std::vector<T> rows, std::size_t limit) {
  page<T> out;
  const bool more = rows.size() > limit;
  if (more) rows.resize(limit);
  out.items = std::move(rows);
  if (more && !out.items.empty()) out.next = to_string(out.items.back().id);
  return out;
}

/// For ILIKE: holds `text` anywhere, whatever signs are in it. Empty for an empty text.
inline std::string containing(std::string_view text) {
  if (text.empty()) return {};
  std::string out = "%";
  for (const char c : text) {
    if (c == '%' || c == '_' || c == '\\') out += '\\';
    out += c;
  }
  return out + "%";
}

}  // namespace mailherd::store
