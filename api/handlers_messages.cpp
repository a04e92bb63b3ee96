// api/handlers_messages: the feed, and one message in all its forms.
#include <charconv>
#include <fmt/format.h>

#include "api/feed_stream.hpp"
#include "api/handlers.hpp"
#include "api/model_json.hpp"
#include "api/rules.hpp"
#include "api/service.hpp"
#include "core/limits.hpp"

namespace mailherd::api::handle {

namespace {

// ---- the feed
// -----------------------------------------------------------------------------------------------------------------------------

struct feed_question {
  std::optional<channel_id> channel;
  std::int64_t after = 0;
  std::optional<wall_time> since;
  std::size_t limit = 0;
  mono_time until{};
};

std::optional<std::int64_t> whole_number(const std::string& s, std::int64_t most) {
  std::int64_t n = 0;
  const auto [end, bad] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (s.empty() || bad != std::errc{} || end != s.data() + s.size() || n < 0 || n > most) return std::nullopt;
  return n;
}

/// `after`: from the query or a header, which `after_name` tells in an error.
feed_question read_question(const call& c, const std::string& after, const char* after_name, std::vector<field_error>& wrong) {
  feed_question q;
  if (!after.empty()) {
    const auto position = whole_number(after, INT64_MAX);
    if (position)
      q.after = *position;
    else
      wrong.push_back({after_name, "must be the `next` of an earlier answer"});
  }
  if (const auto channel = c->query.find("channel"); channel != c->query.end()) {
    q.channel = parse_id<channel_id>(channel->second);
    if (!q.channel) wrong.push_back({"channel", "must be a channel's id, like c17"});
  }
  if (const auto since = c->query.find("since"); since != c->query.end()) {
    q.since = rules::parse_time(since->second);
    if (!q.since) wrong.push_back({"since", "must be an RFC 3339 time like 2026-01-31T00:00:00Z"});
    if (c->query.contains("after")) wrong.push_back({"since", "is for readers without a cursor: give one of after and since"});
  }
  return q;
}

response feed_answer(const feed_question& q, const std::vector<store::stored_message>& items) {
  return json_answer(200, dump(to_page(items, std::to_string(items.empty() ? q.after : items.back().id.position))));
}

// Is there such a tenant and channel, and where does a reading since a time begin? On a storage worker.
std::optional<response> prepare(service& s, const call& c, feed_question& q, store::session& db) {
  if (auto tenant = db.admin.get_tenant(c->who, c->tenant); !tenant) return s.failed(tenant.error());
  if (q.channel)
    if (auto channel = db.admin.get_channel(c->who, c->tenant, *q.channel); !channel) return s.failed(channel.error());
  if (!q.since) return std::nullopt;
  if (db.webhooks == nullptr) return s.failed({failure::internal, "this store cannot look for a time", {}});
  auto after = db.webhooks->position_at(c->who, c->tenant, *q.since);
  if (!after) return s.failed(after.error());
  q.after = *after;
  q.since.reset();
  return std::nullopt;
}

// One look into the feed. Empty-handed and with time left, the reader waits for a wake and looks again. On the HTTP thread.
void look(service& s, const call& c, feed_question q, bool first) {
  const auto seen = s.waiters().wakes(c->tenant);
  auto self = s.shared_from_this();
  s.in_store_then(c, [self, c, asked = std::move(q), first, seen](store::session& db) -> std::optional<response> {
    auto q = asked;
    if (first)
      if (auto refused = prepare(*self, c, q, db)) return refused;
    auto items = db.admin.feed(c->who, c->tenant, q.channel, q.after, q.limit);
    if (!items) return self->failed(items.error());
    if (!items->empty() || mono_clock::now() >= q.until) return feed_answer(q, *items);
    self->loop->post([self, c, q, seen] {
      if (self->waiters().stopping()) return self->finish(c, feed_answer(q, {}));
      const auto left = std::chrono::ceil<milliseconds>(q.until - mono_clock::now());
      const auto pause = std::max(milliseconds(0), std::min<milliseconds>(left, limits::api_feed_recheck));
      self->waiters().wait(c->tenant, seen, pause, [self, c, q] {
        if (self->waiters().stopping()) return self->finish(c, feed_answer(q, {}));
        look(*self, c, q, false);
      });
    });
    return std::nullopt;
  });
}

// ---- one message
// --------------------------------------------------------------------------------------------------------------------------

std::optional<message_id> message_of(service& s, const call& c) {
  const auto id = parse_message_id(c->args[1]);
  // The id names its tenant: another one than the path's must not be reachable through it.
  if (id && id->tenant == c->tenant) return id;
  s.finish(c, not_found());
  return std::nullopt;
}

struct loaded_message {
  store::stored_message head;
  std::string raw;               ///< the first limits::api_parse_bytes
  std::shared_ptr<void> budget;  ///< given back when `raw` is
  [[nodiscard]] bool whole() const { return raw.size() >= head.size; }
};

// Reads a message and takes it apart on the background thread: MIME costs CPU, and storage workers are few.
void with_message(service& s, const call& c, message_id id, std::function<response(const loaded_message&)> work) {
  s.in_store_then(c, [&s, c, id, work = std::move(work)](store::session& db) -> std::optional<response> {
    auto head = db.admin.get_message(c->who, id);
    if (!head) return s.failed(head.error());
    auto message = std::make_shared<loaded_message>();
    message->head = std::move(*head);
    if (message->head.has_body) {
      const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(message->head.size, limits::api_parse_bytes));
      message->budget = s.take_parse_budget(most);
      if (!message->budget) return unavailable("Too many large messages are being shown at once.", 1);
      message->raw.reserve(most);
      auto read = db.admin.read_body(c->who, id, [&](std::string_view bytes) {
        message->raw.append(bytes.substr(0, limits::api_parse_bytes - message->raw.size()));
        return message->raw.size() < limits::api_parse_bytes;
      });
      if (!read) return s.failed(read.error());
    }
    auto self = s.shared_from_this();
    const bool taken = s.workshop.submit([self, c, message, work] {
      response answer;
      try {
        answer = work(*message);
      } catch (const std::exception& e) {
        answer = self->failed({failure::internal, std::string("showing a message: ") + e.what(), {}});
      }
      self->finish(c, std::move(answer));
    });
    if (!taken) return unavailable("Too many messages are being shown at once.", 1);
    return std::nullopt;
  });
}

/// Windows of a raw message, each read by a job of its own: a slow client holds memory of one window and no worker.
class raw_source final : public body_source {
 public:
  raw_source(std::shared_ptr<service> s, store::caller who, message_id id, std::uint64_t size, std::shared_ptr<void> place)
      : service_(std::move(s)), who_(std::move(who)), id_(id), size_(size), place_(std::move(place)) {}

  void next(std::function<void(result<std::string>)> on_piece) override {
    if (offset_ >= size_) return on_piece(std::string());
    const auto job = [service = service_, who = who_, id = id_, offset = offset_, on_piece](result<store::session*> db) {
      if (!db) return on_piece(fail(db.error()));
      std::string window;
      auto read = (*db)->admin.read_body_from(who, id, offset, [&](std::string_view bytes) {
        window.append(bytes.substr(0, limits::api_stream_window_bytes - window.size()));
        return window.size() < limits::api_stream_window_bytes;
      });
      if (!read) return on_piece(fail(read.error()));
      on_piece(std::move(window));
    };
    offset_ += limits::api_stream_window_bytes;
    if (!service_->store.submit(deadline::after(mono_clock::now(), limits::api_job_deadline), job)) on_piece(fail(failure::store_busy));
  }

 private:
  std::shared_ptr<service> service_;
  store::caller who_;
  message_id id_;
  std::uint64_t size_, offset_ = 0;
  std::shared_ptr<void> place_;
};

// RFC 6266, 4.3 and RFC 8187: a plain name for old clients, the true one in UTF-8.
std::string disposition(const std::string& name) {
  std::string plain, coded;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool simple = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
    plain += simple || c == ' ' ? c : '_';
    coded += simple ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  if (name.empty()) return "attachment";
  return fmt::format("attachment; filename=\"{}\"; filename*=UTF-8''{}", plain, coded);
}

// What came by mail is not ours to trust: a browser that opens it must neither run it nor guess its type.
void untrusted_headers(response& r, const std::string& type, const std::string& name) {
  r.headers = {{"Content-Type", type},
               {"Content-Disposition", disposition(name)},
               {"Content-Security-Policy", "default-src 'none'; sandbox"},
               {"X-Content-Type-Options", "nosniff"},
               {"Cache-Control", "private, no-store"}};
}

bool is_media_type(const std::string& type) {
  return type.find('/') != std::string::npos && type.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789/.+-_") == std::string::npos;
}

}  // namespace

void feed(service& s, const call& c) {
  const auto page = s.read_paging(c);
  if (!page) return;
  std::vector<field_error> wrong;
  auto q = read_question(c, page->after, "after", wrong);
  q.limit = page->limit;
  seconds wait{0};
  if (const auto w = c->query.find("wait"); w != c->query.end()) {
    const auto n = whole_number(w->second, 3600);
    if (n)
      wait = std::min(seconds(*n), limits::api_feed_wait);
    else
      wrong.push_back({"wait", "must be a whole number of seconds from 0 to 3600"});
  }
  if (!wrong.empty()) return s.finish(c, invalid_request(wrong));
  q.until = mono_clock::now() + wait;
  look(s, c, q, true);
}

void newest(service& s, const call& c) {
  const auto page = s.read_paging(c);
  if (!page) return;
  std::vector<field_error> wrong;
  std::int64_t before = 0;
  if (!page->after.empty()) {
    const auto n = whole_number(page->after, INT64_MAX);
    if (!n || *n == 0) wrong.push_back({"after", "must be the `next` of an earlier answer"});
    before = n.value_or(0);
  }
  std::optional<channel_id> channel;
  if (const auto named = c->query.find("channel"); named != c->query.end()) {
    channel = parse_id<channel_id>(named->second);
    if (!channel) wrong.push_back({"channel", "must be a channel's id, like c17"});
  }
  if (!wrong.empty()) return s.finish(c, invalid_request(wrong));
  s.in_store(c, [&s, c, channel, before, limit = page->limit](store::session& db) -> response {
    if (auto tenant = db.admin.get_tenant(c->who, c->tenant); !tenant) return s.failed(tenant.error());
    if (channel)
      if (auto mine = db.admin.get_channel(c->who, c->tenant, *channel); !mine) return s.failed(mine.error());
    auto items = db.admin.newest(c->who, c->tenant, channel, before, limit);
    if (!items) return s.failed(items.error());
    return json_answer(200, dump(to_page(*items, items->size() < limit ? "" : std::to_string(items->back().id.position))));
  });
}

// A client that was cut off comes back by itself with the id of the last event it has seen: that counts before `after`.
void stream_feed(service& s, const call& c) {
  std::vector<field_error> wrong;
  const std::string last(c->req.header("last-event-id"));
  const auto after = c->query.find("after");
  auto q = read_question(c, !last.empty() ? last : after != c->query.end() ? after->second : "", last.empty() ? "after" : "Last-Event-ID", wrong);
  if (!last.empty()) q.since.reset();
  if (!wrong.empty()) return s.finish(c, invalid_request(wrong));
  auto place = s.take_feed_stream();
  if (!place) return s.finish(c, unavailable("Too many readers follow feeds at once.", 5));
  auto self = s.shared_from_this();
  s.in_store_then(c, [self, c, q, place](store::session& db) -> std::optional<response> {
    auto from = q;
    if (auto refused = prepare(*self, c, from, db)) return refused;
    response r;
    r.headers = {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}};
    r.stream = std::make_shared<feed_stream>(self, c->who, c->tenant, from.channel, from.after, place);
    r.endless = true;
    return r;
  });
}

void get_message(service& s, const call& c) {
  const auto id = message_of(s, c);
  if (!id) return;
  with_message(s, c, *id, [](const loaded_message& m) -> response {
    auto content = mime::parse_content(m.raw);
    if (m.head.has_body && !m.whole())
      content.notes.push_back(fmt::format("only the first {} MiB of the message were read for this view; raw gives all of it",
                                          limits::api_parse_bytes / limits::mib));
    auto j = to_json(m.head);
    add_content(j, m.raw, content);
    return json_answer(200, dump(j));
  });
}

// For a frame of the console. What came by mail runs nothing, loads nothing and reaches nothing: the policy says so to the browser, whatever
// is in the text, and the frame says it once more.
void get_html(service& s, const call& c) {
  const auto id = message_of(s, c);
  if (!id) return;
  with_message(s, c, *id, [](const loaded_message& m) -> response {
    const auto content = mime::parse_content(m.raw);
    if (content.html.empty()) return not_found("This message has no HTML.");
    response r;
    r.headers = {{"Content-Type", "text/html; charset=utf-8"},
                 {"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"},
                 {"Referrer-Policy", "no-referrer"},
                 {"X-DNS-Prefetch-Control", "off"},
                 {"X-Content-Type-Options", "nosniff"},
                 {"Cache-Control", "private, no-store"}};
    r.body = "<!doctype html><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light only\">" + content.html;
    return r;
  });
}

void get_raw(service& s, const call& c) {
  const auto id = message_of(s, c);
  if (!id) return;
  s.in_store(c, [&s, c, id = *id](store::session& db) -> response {
    auto head = db.admin.get_message(c->who, id);
    if (!head) return s.failed(head.error());
    if (!head->has_body)
      return not_found("This message was recorded without its body: " +
                       (head->problem.empty() ? "it could not be fetched." : head->problem));
    auto place = s.take_stream();
    if (!place) return unavailable("Too many raw messages are being read at once.", 2);
    response r;
    untrusted_headers(r, "message/rfc822", to_string(id) + ".eml");
    r.stream = std::make_shared<raw_source>(s.shared_from_this(), c->who, id, head->size, std::move(place));
    r.stream_bytes = head->size;
    return r;
  });
}

void get_attachment(service& s, const call& c) {
  const auto id = message_of(s, c);
  if (!id) return;
  const auto index = whole_number(c->args[2], static_cast<std::int64_t>(limits::mime_parts));
  if (!index) return s.finish(c, not_found("There is no attachment of this number."));
  with_message(s, c, *id, [index = static_cast<std::size_t>(*index)](const loaded_message& m) -> response {
    if (!m.head.has_body) return not_found("This message was recorded without its body.");
    // Its parts would be cut where the reading ended, and nobody could see it.
    if (!m.whole())
      return problem(422, "too-large", "Too large to take apart", "This message is too large to take apart here; fetch its raw form.");
    const auto content = mime::parse_content(m.raw);
    auto bytes = mime::attachment(m.raw, index);
    if (!bytes || index >= content.attachments.size()) return not_found("There is no attachment of this number.");
    const auto& info = content.attachments[index];
    response r;
    untrusted_headers(r, is_media_type(info.type) ? info.type : "application/octet-stream", info.name);
    r.body = std::move(*bytes);
    return r;
  });
}

}  // namespace mailherd::api::handle
