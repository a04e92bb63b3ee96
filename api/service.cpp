// api/service: from a request to its handler and back; see the header.
#include "api/service.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "api/console_files.hpp"
#include "api/tokens.hpp"
#include "core/server_text.hpp"

namespace mailherd::api {

namespace {

constexpr std::size_t most_idempotency_key_bytes = 255;
constexpr milliseconds key_pause{500};  // between tries to give an Idempotency-Key back
constexpr unsigned key_tries = 20;
constexpr std::string_view session_of_operator = "mailherd console session";  // what an operator token is asked to digest
constexpr std::string_view derived_key = "derive:";  // marks a remembered answer whose key is derived anew

bool writes(verb v) { return v == verb::post || v == verb::put || v == verb::patch; }

std::string_view without_parameters(std::string_view media_type) {
  auto type = media_type.substr(0, media_type.find(';'));
  while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
  return type;
}

std::shared_ptr<void> take(const std::shared_ptr<std::atomic<std::size_t>>& counter, std::size_t amount, std::size_t most) {
  if (counter->fetch_add(amount) + amount > most) {
    counter->fetch_sub(amount);
    return nullptr;
  }
  return {static_cast<void*>(counter.get()), [counter, amount](void*) { counter->fetch_sub(amount); }};
}

std::string digest_text(const sha256_digest& d) { return {reinterpret_cast<const char*>(d.data()), d.size()}; }

}  // namespace

service::service(options wanted, store::executor& store, actors::control& control, std::shared_ptr<api::loop> loop)
    : store(store),
      control(control),
      settings(std::move(wanted)),
      rules{settings.allow_plaintext},
      loop(loop),
      workshop(limits::api_background_jobs),
      waiters_(loop),
      news_(loop) {
  for (const auto& token : settings.operator_tokens) operator_digests_.push_back(keyed_digest(token, session_of_operator));
}

// ---- the way of a request: route, query, token, rights, body, Idempotency-Key, handler ----------------------------------------------------

void service::handle(request wanted, respond answer) {
  auto c = std::make_shared<exchange>();
  c->req = std::move(wanted);
  c->answer = std::move(answer);
  const std::string_view target = c->req.target;
  const auto question = target.find('?');
  const auto path = target.substr(0, question);
  if (auto file = answer_console_file(c->req, path)) return finish(c, std::move(*file));
  auto match = match_route(c->req.method, path);
  if (match.allow.empty()) return finish(c, not_found("There is nothing at this path; /openapi.yaml lists what there is."));
  if (match.found == nullptr) {
    auto r = problem(405, "method-not-allowed", "Method not allowed", "This path knows: " + match.allow + ".");
    r.headers.emplace_back("Allow", match.allow);
    return finish(c, std::move(r));
  }
  c->to = match.found;
  c->args = std::move(match.args);
  if (c->to->who == access::open) {
    if (read_query(c, question == std::string_view::npos ? "" : target.substr(question + 1)) && read_body(c)) c->to->answer(*this, c);
    return;
  }
  authenticate(c);
}

void service::unauthorized(const call& c, std::string_view detail) {
  auto r = problem(401, "unauthorized", "Unauthorized", detail);
  r.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"mailherd\"");
  finish(c, std::move(r));
}

void service::authenticate(const call& c) {
  auto sent = c->req.header("authorization");
  if (sent.empty())
    if (const auto cookie = sessions::cookie_of(c->req, is_secure())) return authenticate_session(c, *cookie);
  if (sent.size() < 7 || !equal_text(sent.substr(0, 7), "Bearer "))
    return unauthorized(c, "Send the header \"Authorization: Bearer <token>\" with an operator token or a tenant's API key.");
  sent.remove_prefix(7);
  while (!sent.empty() && sent.front() == ' ') sent.remove_prefix(1);
  // Every operator token is compared, whichever matches: the time taken tells nothing.
  bool is_operator = false;
  for (const auto& token : settings.operator_tokens) is_operator |= equal_in_constant_time(token.reveal(), sent);
  if (is_operator) {
    c->actor = "operator";
    return check_and_run(c);
  }
  if (!sent.starts_with("mhk_")) return unauthorized(c, "The token is not known.");
  const auto digest = digest_of(sent);
  c->req.headers.erase("authorization");
  const auto name = digest_text(digest);
  const auto now = mono_clock::now();
  if (const auto known = keys_.find(name); known != keys_.end() && known->second.until > now) return authorize(c, known->second.owner);
  in_store_then(c, [self = shared_from_this(), c, digest, name](store::session& db) -> std::optional<response> {
    auto owner = db.admin.find_api_key(digest);
    if (!owner) return self->failed(owner.error());
    self->loop->post([self, c, name, owner = *owner] {
      if (self->keys_.size() >= limits::api_key_cache) self->keys_.clear();
      self->keys_[name] = {owner, mono_clock::now() + limits::api_key_cache_life};
      self->authorize(c, owner);
    });
    return std::nullopt;
  });
}

void service::authorize(const call& c, const std::optional<std::pair<tenant_id, api_key_id>>& owner) {
  if (!owner) return unauthorized(c, "The token is not known.");
  c->who.only = owner->first;
  c->actor = "key " + to_string(owner->second);
  if (c->to->who == access::operators) return finish(c, not_found());
  check_and_run(c);
}

std::optional<sha256_digest> service::operator_digest(const secret<>& token) const {
  // Every one is compared, whichever matches: the time taken tells nothing.
  std::optional<sha256_digest> found;
  for (std::size_t i = 0; i < settings.operator_tokens.size(); ++i)
    if (equal_in_constant_time(settings.operator_tokens[i].reveal(), token.reveal())) found = operator_digests_[i];
  return found;
}

response service::not_from_console() {
  return problem(403, "not-from-console", "Forbidden", "A session serves requests of the console itself only; programs use a token.");
}

void service::authenticate_session(const call& c, const std::string& cookie) {
  if (c->req.method != verb::get && c->req.method != verb::head && !sessions::from_console(c->req, base_url))
    return finish(c, not_from_console());
  c->session_digest = digest_of(cookie);
  c->req.headers.erase("cookie");
  const auto name = digest_text(c->session_digest);
  if (const auto known = sessions_.find(name); known != sessions_.end() && known->second.until > mono_clock::now())
    return admit(c, known->second.session);
  in_store_then(c, [self = shared_from_this(), c, name](store::session& db) -> std::optional<response> {
    auto session = db.admin.find_session(c->session_digest);
    if (!session) return self->failed(session.error());
    self->loop->post([self, c, name, session = *session] {
      if (self->sessions_.size() >= limits::api_key_cache) self->sessions_.clear();
      self->sessions_[name] = {session, mono_clock::now() + limits::api_key_cache_life};
      self->admit(c, session);
    });
    return std::nullopt;
  });
}

void service::admit(const call& c, const std::optional<store::console_session>& session) {
  const bool by_operator = session && !session->who.only;
  // An operator token that is configured no longer opens nothing, however long its sessions would last.
  if (!session || (by_operator && std::find(operator_digests_.begin(), operator_digests_.end(), session->operator_token) == operator_digests_.end()))
    return unauthorized(c, "You are not signed in, or no longer.");
  c->session = session;
  if (!by_operator) return authorize(c, std::pair{*session->who.only, session->key});
  c->actor = "operator";
  check_and_run(c);
}

void service::check_and_run(const call& c) {
  if (c->to->path.find("{tenant}") != std::string_view::npos) {
    const auto tenant = parse_id<tenant_id>(c->args[0]);
    // The same words whether it is somebody else's or nobody's: an id must not tell whether it exists.
    if (!tenant || (c->who.only && *c->who.only != *tenant)) return finish(c, not_found());
    c->tenant = *tenant;
  }
  const auto question = c->req.target.find('?');
  if (!read_query(c, question == std::string::npos ? std::string_view{} : std::string_view(c->req.target).substr(question + 1))) return;
  if (!read_body(c)) return;
  if (const auto key = c->req.header("idempotency-key"); writes(c->req.method) && !c->to->once && c->req.headers.contains("idempotency-key"))
    return claim_idempotency(c, std::string(key));
  c->to->answer(*this, c);
}

bool service::read_query(const call& c, std::string_view text) {
  std::vector<field_error> wrong;
  while (!text.empty()) {
    const auto pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(text.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    const auto name = percent_decode(pair.substr(0, equals), true);
    const auto value = percent_decode(equals == std::string_view::npos ? "" : pair.substr(equals + 1), true);
    const bool known = name && std::find(c->to->query.begin(), c->to->query.end(), *name) != c->to->query.end();
    if (c->to->lenient) {
      if (known && value) c->query.emplace(*name, *value);   // of two the first: neither is believed without its digest
      continue;
    }
    if (!name || !value) {
      wrong.push_back({name.value_or("query"), "is not valid percent-encoded UTF-8"});
    } else if (!known) {
      std::string allowed;
      for (const auto& q : c->to->query) allowed += (allowed.empty() ? "" : ", ") + std::string(q);
      wrong.push_back({*name, "is not a known parameter; " + (allowed.empty() ? "this path takes none" : "known are: " + allowed)});
    } else if (!c->query.emplace(*name, *value).second) {
      wrong.push_back({*name, "is given twice"});
    }
  }
  if (wrong.empty()) return true;
  finish(c, invalid_request(wrong));
  return false;
}

bool service::read_body(const call& c) {
  const auto& body = c->req.body;
  if (c->to->body == body_rule::none) {
    if (body.find_first_not_of(" \t\r\n") == std::string::npos || !writes(c->req.method)) return true;
    const auto parsed = parse_object(body);
    if (parsed && parsed->empty()) return true;
    finish(c, problem(400, "invalid-request", "Invalid request", "This request takes no body."));
    return false;
  }
  if (c->to->body == body_rule::optional && body.find_first_not_of(" \t\r\n") == std::string::npos) {
    c->body = json::object();
    return true;
  }
  const auto type = without_parameters(c->req.header("content-type"));
  const bool merge_patch = c->req.method == verb::patch && equal_text(type, "application/merge-patch+json");
  if ((!type.empty() && !equal_text(type, "application/json") && !merge_patch) || !c->req.header("content-encoding").empty()) {
    finish(c, problem(415, "unsupported-media-type", "Unsupported media type",
                      "Send the body as application/json, UTF-8, without Content-Encoding."));
    return false;
  }
  auto parsed = parse_object(body);
  if (!parsed) {
    const auto words = body.empty() ? std::string("a JSON object is required") : parsed.error().detail;
    finish(c, problem(400, "malformed-json", "Malformed JSON", words, {{"", words}}));
    return false;
  }
  c->body = std::move(*parsed);
  return true;
}

// ---- Idempotency-Key --------------------------------------------------------------------------------------------------------------------

void service::claim_idempotency(const call& c, const std::string& key) {
  const bool printable = std::all_of(key.begin(), key.end(), [](char ch) { return ch > 0x20 && ch < 0x7F; });
  if (key.empty() || key.size() > most_idempotency_key_bytes || !printable)
    return finish(c, invalid_request({{"Idempotency-Key", "must be 1 to 255 printable ASCII characters without blanks"}}));
  const auto digest =
      keyed_digest(settings.operator_tokens.front(), fmt::format("{} {}\n{}", to_string(c->req.method), c->req.target, c->req.body));
  const auto scope = c->who.only ? to_string(*c->who.only) : std::string("operator");
  in_store_then(c, [self = shared_from_this(), c, key, digest, scope](store::session& db) -> std::optional<response> {
    auto before = db.admin.begin_idempotent(scope, key, digest);
    if (!before) {
      if (before.error().code != failure::conflict) return self->failed(before.error());
      return problem(409, "idempotency-conflict", "Idempotency-Key in use",
                     "Another request with this Idempotency-Key is still running, or had another path or body.");
    }
    self->loop->post([self, c, key, scope, before = std::move(*before)] {
      if (before) return self->replay(c, *before);
      c->idempotency_scope = scope;
      c->idempotency_key = key;
      c->to->answer(*self, c);
    });
    return std::nullopt;
  });
}

void service::replay(const call& c, const store::admin_store::remembered& before) {
  auto r = before.status == 204 ? no_content() : json_answer(before.status, before.body);
  if (before.status >= 400) r.headers.front().second = "application/problem+json";
  auto parsed = json::parse(before.body, nullptr, false);
  if (parsed.is_object() && parsed.contains("key") && parsed["key"].is_string()) {
    const auto kept = parsed["key"].get<std::string>();
    if (kept.starts_with(derived_key)) {
      auto ordered = nlohmann::ordered_json::parse(before.body, nullptr, false);
      ordered["key"] = api_key_of(settings.operator_tokens.front(), std::string_view(kept).substr(derived_key.size())).reveal();
      r.body = ordered.dump();
    }
  }
  r.headers.emplace_back("Idempotency-Replayed", "true");
  finish(c, std::move(r));
}

void service::finish(const call& c, response answer, store::session* here) {
  if (c->idempotency_key.empty()) return (*c->answer)(std::move(answer));
  const bool answer_failed = answer.status >= 500;
  const auto settle = [self = shared_from_this(), c, answer = std::make_shared<response>(std::move(answer))](store::session& db) {
    if (answer->status < 500) {
      store::admin_store::remembered kept{answer->status, c->remembered_body.value_or(answer->body)};
      // Not remembered, the write is done all the same: the client is better served with the answer than with an error.
      if (auto done = db.admin.finish_idempotent(c->idempotency_scope, c->idempotency_key, kept); !done) (void)self->failed(done.error());
    } else {
      (void)db.admin.forget_idempotent(c->idempotency_scope, c->idempotency_key);
    }
    (*c->answer)(std::move(*answer));
  };
  if (here != nullptr) return settle(*here);
  auto kept = std::make_shared<decltype(settle)>(settle);
  const auto without_store = [self = shared_from_this(), c, nothing_done = answer_failed] {
    const auto* words =
        nothing_done ? "The store is busy." : "The request was done, but its Idempotency-Key could not be noted; look before repeating.";
    (*c->answer)(unavailable(words, 1));
    if (nothing_done) self->give_key_back(c, key_tries);
  };
  const bool taken =
      store.submit(deadline::after(mono_clock::now(), limits::api_job_deadline), [kept, without_store](result<store::session*> db) {
        if (db)
          (*kept)(**db);
        else
          without_store();
      });
  if (!taken) without_store();
}

// A request that never began must not leave its key taken, or the client's honest repetition would be refused. If the store stays away,
// `sweep` frees the key.
void service::give_key_back(const call& c, unsigned tries) {
  if (c->idempotency_key.empty() || tries == 0) return;
  loop->after(key_pause, [self = shared_from_this(), c, tries] {
    const auto forget = [self, c, tries](result<store::session*> db) {
      if (!db || !(*db)->admin.forget_idempotent(c->idempotency_scope, c->idempotency_key)) self->give_key_back(c, tries - 1);
    };
    if (!self->store.submit(deadline::after(mono_clock::now(), limits::api_job_deadline), forget)) self->give_key_back(c, tries - 1);
  });
}

// ---- the way into the store -------------------------------------------------------------------------------------------------------------

void service::in_store_then(const call& c, std::function<std::optional<response>(store::session&)> work) {
  const auto job = [self = shared_from_this(), c, work = std::move(work)](result<store::session*> db) {
    if (!db) return self->finish(c, self->failed(db.error()));
    std::optional<response> answer;
    try {
      answer = work(**db);
    } catch (const std::exception& e) {
      answer = self->failed({failure::internal, fmt::format("{} {}: {}", to_string(c->req.method), c->to->path, e.what()), {}});
    }
    if (answer) self->finish(c, std::move(*answer), *db);
  };
  if (store.submit(deadline::after(mono_clock::now(), limits::api_job_deadline), job)) return;
  (*c->answer)(unavailable("The store is busy.", 1));
  give_key_back(c, key_tries);
}

void service::in_store(const call& c, std::function<response(store::session&)> work) {
  in_store_then(c, [work = std::move(work)](store::session& db) -> std::optional<response> { return work(db); });
}

response service::failed(const error& why) {
  std::string words;
  auto r = from_failure(why, words);
  if (!words.empty() && settings.log) settings.log("api answers 500: " + words);
  return r;
}

// ---- small things -----------------------------------------------------------------------------------------------------------------------

std::optional<service::paging> service::read_paging(const call& c) {
  paging p{limits::api_page_default, {}};
  if (const auto limit = c->query.find("limit"); limit != c->query.end()) {
    const auto& s = limit->second;
    const auto [end, bad] = std::from_chars(s.data(), s.data() + s.size(), p.limit);
    if (bad != std::errc{} || end != s.data() + s.size() || p.limit < 1 || p.limit > limits::api_page_items) {
      finish(c, invalid_request({{"limit", fmt::format("must be a whole number from 1 to {}", limits::api_page_items)}}));
      return std::nullopt;
    }
  }
  if (const auto after = c->query.find("after"); after != c->query.end()) p.after = after->second;
  return p;
}

void service::forget_keys() {
  loop->post([self = shared_from_this()] {
    self->keys_.clear();
    self->sessions_.clear();
  });
}

std::shared_ptr<void> service::take_parse_budget(std::size_t bytes) { return take(parsing_, bytes, limits::api_parse_budget_bytes); }
std::shared_ptr<void> service::take_feed_stream() { return take(following_, 1, limits::api_feed_streams); }

std::shared_ptr<void> service::take_stream() { return take(streaming_, 1, limits::api_streams); }

}  // namespace mailherd::api
