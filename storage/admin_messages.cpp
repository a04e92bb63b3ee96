// storage/admin_messages: the feed, messages, bodies. Mail of a channel that was deleted is not there, also before it is purged.
#include <fmt/format.h>

#include "queries.hpp"
#include "storage/admin_store.hpp"
#include "storage/admin_support.hpp"
#include "storage/rows.hpp"

namespace mailherd::store {

namespace {

/// What is read of a body with one statement: a large one is never in memory as a whole.
constexpr std::size_t slice_bytes = limits::chunk_bytes;

using sink_function = std::function<bool(std::string_view)>;

result<stored_message> message_of(const pqxx::row& row, tenant_id tenant) {
  stored_message m;
  m.id = {tenant, row[0].as<std::int64_t>()};
  m.channel = channel_id{row[1].as<std::int64_t>()};
  m.sequence = row[2].as<std::int64_t>();
  m.received_at = time_of(row[3].as<std::int64_t>());
  m.internal_date = time_of(row[4].as<std::int64_t>());
  m.size = row[5].as<std::uint64_t>();
  m.digest = digest_of(row[6]);
  m.envelope = envelope_of(std::string_view(row[7].c_str(), row[7].size()));
  const auto protocol = name_of<protocol_kind>(row[8]);
  if (!protocol) return fail(protocol.error());
  m.source.protocol = *protocol;
  m.source.folder = text(row[9]);
  m.source.uid_validity.value = row[10].as<std::uint32_t>();
  m.source.uid.value = row[11].as<std::uint32_t>();
  m.source.uidl = text(row[12]);
  m.problem = text(row[13]);
  m.has_body = row[14].as<bool>();
  return m;
}

tl::unexpected<error> cut_off(message_id id, std::uint64_t at) {
  return fail(failure::store_failed, fmt::format("the body of {} ends at byte {}", to_string(id), at));
}

/// A body in its message's row. PostgreSQL cuts the slices out without reading the rest (the column is stored outside, uncompressed).
result<void> read_inline(connection& link, message_id id, wall_time received_at, std::uint64_t offset, std::uint64_t length, const sink_function& sink) {
  while (offset < length) {
    const auto rows = link.run(sql::body_slice, id.tenant, id.position, received_at, static_cast<std::int64_t>(offset) + 1, slice_bytes);
    const auto slice = rows.empty() ? std::string() : bytes(rows[0][0]);
    if (slice.empty()) return cut_off(id, offset);
    offset += slice.size();
    if (!sink(slice)) return {};
  }
  return {};
}

result<void> read_chunks(connection& link, message_id id, std::int64_t blob, std::uint64_t offset, std::uint64_t length, const sink_function& sink) {
  if (offset >= length) return {};
  const auto found = link.run(sql::find_chunk, id.tenant, blob, static_cast<std::int64_t>(offset));
  if (found.empty()) return cut_off(id, offset);
  auto index = found[0][0].as<std::int64_t>();
  std::int64_t skip = static_cast<std::int64_t>(offset) - found[0][1].as<std::int64_t>();
  for (; offset < length; ++index, skip = 0) {
    const auto rows = link.run(sql::chunk_from, id.tenant, blob, index, skip + 1);
    const auto slice = rows.empty() ? std::string() : bytes(rows[0][0]);
    if (slice.empty()) return cut_off(id, offset);
    offset += slice.size();
    if (!sink(slice)) return {};
  }
  return {};
}

/// A body that was written ahead, beside others.
result<void> read_ahead(connection& link, message_id id, std::int64_t blob, std::int64_t index, std::uint64_t offset, std::uint64_t length,
                        const sink_function& sink) {
  while (offset < length) {
    const auto rows = link.run(sql::ahead_body_slice, id.tenant, blob, index, static_cast<std::int64_t>(offset) + 1, slice_bytes);
    if (rows.empty()) return fail(failure::not_found, fmt::format("the body of {} is not kept any more", to_string(id)));
    const auto slice = bytes(rows[0][0]);
    if (slice.empty()) return cut_off(id, offset);
    offset += slice.size();
    if (!sink(slice)) return {};
  }
  return {};
}

}  // namespace

result<std::vector<stored_message>> messages_of(const pqxx::result& rows, tenant_id tenant) {
  std::vector<stored_message> out;
  out.reserve(static_cast<std::size_t>(rows.size()));
  for (const auto& row : rows) {
    auto m = message_of(row, tenant);
    if (!m) return fail(m.error());
    out.push_back(std::move(*m));
  }
  return out;
}

result<std::vector<stored_message>> pg_admin_store::feed(const caller& who, tenant_id tenant, std::optional<channel_id> channel, std::int64_t after,
                                                         std::size_t limit) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&]() -> result<std::vector<stored_message>> {
    // Whoever gives out positions holds the tenant's head until his commit: what is visible has no gap that could be filled later.
    if (channel) return messages_of(link_.run(sql::feed_of_channel, tenant, after, limit, *channel), tenant);
    // Only deleted channels and retention leave gaps: a page is nearly always the next `limit` positions. Of a range of that size every plan is a good one;
    // without its end, a planner that has not looked since the feed grew reads and sorts all that follows, for every page.
    const auto end = after > INT64_MAX - static_cast<std::int64_t>(limit) ? INT64_MAX : after + static_cast<std::int64_t>(limit);
    auto rows = link_.run(sql::feed, tenant, after, limit, end);
    if (static_cast<std::size_t>(rows.size()) < limit && end < INT64_MAX) rows = link_.run(sql::feed, tenant, after, limit, INT64_MAX);
    return messages_of(rows, tenant);
  });
}

result<std::vector<stored_message>> pg_admin_store::newest(const caller& who, tenant_id tenant, std::optional<channel_id> channel, std::int64_t before,
                                                           std::size_t limit) {
  if (!may(who, tenant)) return missing();
  return link_.transact({tenant}, [&]() -> result<std::vector<stored_message>> {
    const auto rows = channel ? link_.run(sql::newest_of_channel, tenant, before, limit, *channel) : link_.run(sql::newest, tenant, before, limit);
    return messages_of(rows, tenant);
  });
}

result<stored_message> pg_admin_store::get_message(const caller& who, message_id message) {
  if (!may(who, message.tenant)) return missing();
  return link_.transact({message.tenant}, [&]() -> result<stored_message> {
    const auto rows = link_.run(sql::get_message, message.tenant, message.position);
    if (rows.empty()) return missing();
    return message_of(rows[0], message.tenant);
  });
}

result<void> pg_admin_store::read_body(const caller& who, message_id message, const sink_function& sink) { return read_body_from(who, message, 0, sink); }

result<void> pg_admin_store::read_body_from(const caller& who, message_id message, std::uint64_t offset, const sink_function& sink) {
  if (!may(who, message.tenant)) return missing();
  return link_.transact({message.tenant}, [&]() -> result<void> {
    const auto rows = link_.run(sql::find_body, message.tenant, message.position);
    if (rows.empty()) return missing();
    const auto row = rows[0];
    if (!row[0].as<bool>()) return fail(failure::not_found, "the message was recorded without its body");
    if (!row[5].is_null())
      return read_ahead(link_, message, row[2].as<std::int64_t>(), row[5].as<std::int64_t>(), offset, row[1].as<std::uint64_t>(), sink);
    if (!row[2].is_null()) return read_chunks(link_, message, row[2].as<std::int64_t>(), offset, row[1].as<std::uint64_t>(), sink);
    return read_inline(link_, message, time_of(row[4].as<std::int64_t>()), offset, row[3].as<std::uint64_t>(), sink);
  });
}

}  // namespace mailherd::store
