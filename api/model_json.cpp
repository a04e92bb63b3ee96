// api/model_json: every field that goes out; see the header.
#include "api/model_json.hpp"

#include <fmt/format.h>

#include <map>

#include "api/rules.hpp"
#include "core/advice.hpp"
#include "core/limits.hpp"
#include "protocol/mime/automatic.hpp"
#include "protocol/mime/html.hpp"

namespace mailherd::api {

namespace {

out_json time_or_null(const std::optional<wall_time>& t) { return t ? out_json(rules::format_time(*t)) : out_json(nullptr); }
out_json text_or_null(const std::string& s) { return s.empty() ? out_json(nullptr) : out_json(s); }

std::string hex(const sha256_digest& digest) {
  std::string s;
  for (const auto byte : digest) s += fmt::format("{:02x}", byte);
  return s;
}

out_json addresses(const std::vector<mail_address>& all) {
  auto list = out_json::array();
  for (const auto& a : all) list.push_back({{"name", a.name}, {"address", a.address}});
  return list;
}

out_json incoming(const incoming_settings& in) {
  out_json j{{"protocol", to_string(in.protocol)}, {"host", in.host}, {"port", in.port}, {"tls", to_string(in.tls)}};
  j["folder"] = in.protocol == protocol_kind::imap ? out_json(in.folder) : out_json(nullptr);
  j["proxy"] = nullptr;
  if (in.proxy)
    j["proxy"] = {{"kind", to_string(in.proxy->kind)},
                  {"host", in.proxy->host},
                  {"port", in.proxy->port},
                  {"username", text_or_null(in.proxy->username)}};
  return j;
}

out_json start_from(const start_point& start) {
  switch (start.from) {
    case start_point::kind::now: return "now";
    case start_point::kind::all: return "all";
    case start_point::kind::at: return rules::format_time(start.at);
  }
  return "now";
}

out_json auth(const channel_record& c) {
  out_json j{{"type", to_string(c.auth)}, {"account", text_or_null(c.account)}};
  if (c.auth == auth_type::oauth2) {
    j["app"] = c.app ? out_json(to_string(c.app)) : out_json(nullptr);
    j["grant"] = to_string(c.grant);
    j["mailbox"] = text_or_null(c.mailbox);
  }
  j["generation"] = c.generation;
  j["observed_generation"] = c.observed_generation;
  j["previous_generation"] = c.previous_generation == 0 ? out_json(nullptr) : out_json(c.previous_generation);
  j["switch"] = {{"state", to_string(c.switching)}, {"error", text_or_null(c.switch_error)}};
  j["token_expires_at"] = time_or_null(c.token_expires_at);
  return j;
}

std::string words_for(failure f) {
  const auto e = explain(f);
  return fmt::format("{} {}", e.cause, e.next_step);
}

/// An app that does not work, or soon will not.
out_json advice_of(const oauth_app& a) {
  if (a.blocked_since) return words_for(failure::app_misconfigured);
  const auto now = std::chrono::time_point_cast<wall_time::duration>(std::chrono::system_clock::now());
  if (!a.secret_expires_at || *a.secret_expires_at - now > std::chrono::days(30)) return nullptr;
  const auto days = std::chrono::floor<std::chrono::days>(*a.secret_expires_at - now).count();
  const auto* what = a.certificate.empty() ? "client secret" : "certificate";
  const auto when = days < 0 ? std::string("has expired") : days == 0 ? std::string("expires today") : fmt::format("expires in {} days", days);
  return fmt::format("The {} {}. Make a new one at the provider and enter it here{}.", what, when,
                     a.certificate.empty() ? "; entered as the next secret, both are good meanwhile" : "");
}

}  // namespace

std::string dump(const out_json& j) { return j.dump(-1, ' ', false, out_json::error_handler_t::replace); }

out_json advice_of(const channel_record& c) {
  switch (c.state) {
    case channel_state::consent_pending: return "Press Connect and sign in with the account that owns the mailbox.";
    case channel_state::disabled: return nullptr;
    case channel_state::connecting:
    case channel_state::backfilling:
    case channel_state::active:
    case channel_state::throttled:
    case channel_state::backoff:
    case channel_state::needs_reauth:
    case channel_state::needs_admin:
    case channel_state::app_blocked: break;
  }
  if (const auto reason = failure_from(c.state_reason); reason && c.state != channel_state::active) return words_for(*reason);
  if (c.switching == switch_state::failed) {
    // The serving credential is well; what needs a person is the one that did not take over.
    const auto why = failure_from(c.switch_error.substr(0, c.switch_error.find(':')));
    return "The new credentials did not take over; the earlier ones keep serving. " +
           (why ? words_for(*why) : "Correct them and switch again.");
  }
  return nullptr;
}

out_json to_json(const tenant_record& t) {
  return {{"id", to_string(t.id)},
          {"name", t.name},
          {"limits", {{"max_channels", t.limits.max_channels}, {"max_message_bytes", t.limits.max_message_bytes}}},
          {"created_at", rules::format_time(t.created_at)}};
}

out_json to_json(const store::api_key_record& k) {
  return {{"id", to_string(k.id)},
          {"name", k.name},
          {"created_at", rules::format_time(k.created_at)},
          {"last_used_at", time_or_null(k.last_used_at)}};
}

out_json to_json(const oauth_app& a) {
  return {{"id", to_string(a.id)},
          {"tenant", to_string(a.tenant)},
          {"name", a.name},
          {"provider", to_string(a.provider)},
          {"client_id", a.client_id},
          {"credential", a.certificate.empty() ? "client_secret" : "certificate"},
          {"certificate", text_or_null(a.certificate)},
          {"authority", text_or_null(a.authority)},
          {"authorize_url", text_or_null(a.authorize_url)},
          {"token_url", text_or_null(a.token_url)},
          {"device_url", text_or_null(a.device_url)},
          {"issuer", text_or_null(a.issuer)},
          {"scopes", a.scopes},
          {"client_secret_next", a.has_next_secret},
          {"client_secret_expires_at", time_or_null(a.secret_expires_at)},
          {"state", a.blocked_since ? "blocked" : "ok"},
          {"blocked_since", time_or_null(a.blocked_since)},
          {"blocked_detail", text_or_null(a.blocked_detail)},
          {"advice", advice_of(a)},
          {"created_at", rules::format_time(a.created_at)}};
}

out_json to_json(const store::consent& c) {
  const bool device = c.flow == store::consent_flow::device;
  return {{"flow", to_string(c.flow)},
          {"state", to_string(c.state)},
          {"account", text_or_null(c.account)},
          {"detail", text_or_null(c.detail)},
          {"user_code", device ? out_json(c.user_code) : out_json(nullptr)},
          {"verification_uri", device ? out_json(c.verification_uri) : out_json(nullptr)},
          {"begun_at", rules::format_time(c.created_at)},
          {"expires_at", rules::format_time(c.expires_at)}};
}

out_json to_json(const actors::app_setup& s) {
  return {{"redirect_uri", s.redirect_uri}, {"admin_consent_url", text_or_null(s.admin_consent_url)}, {"powershell", s.powershell}, {"notes", s.notes}};
}

out_json to_json(const channel_record& c) {
  out_json j{{"id", to_string(c.id)},
             {"tenant", to_string(c.tenant)},
             {"name", c.spec.name},
             {"address", c.spec.address},
             {"enabled", c.spec.enabled},
             {"incoming", incoming(c.spec.incoming)},
             {"auth", auth(c)},
             {"start_from", start_from(c.spec.start)},
             {"after_fetch", to_string(c.spec.after)},
             {"state", to_string(c.state)},
             {"state_reason", text_or_null(c.state_reason)},
             {"state_detail", text_or_null(c.state_detail)},
             {"state_since", rules::format_time(c.state_since)},
             {"advice", advice_of(c)},
             {"node", text_or_null(c.node)},
             {"lease_epoch", c.lease_epoch},
             {"last_success_at", time_or_null(c.last_success_at)},
             {"messages_stored", c.messages_stored},
             {"next_attempt_at", time_or_null(c.next_attempt_at)},
             {"throttled_until", time_or_null(c.throttled_until)}};
  j["backfill"] = nullptr;
  if (c.backfill_total) j["backfill"] = {{"done", c.backfill_done.value_or(0)}, {"total", *c.backfill_total}};
  j["revision"] = c.revision;
  j["created_at"] = rules::format_time(c.created_at);
  return j;
}

out_json to_json(const store::channel_event& e) {
  return {{"id", to_string(e.id)},          {"at", rules::format_time(e.at)},   {"kind", e.kind},
          {"state", text_or_null(e.state)}, {"reason", text_or_null(e.reason)}, {"detail", text_or_null(e.detail)},
          {"actor", text_or_null(e.actor)}};
}

namespace {

/// The conversation's first message as far as this one knows (RFC 5322, 3.6.4): messages with the same `thread` belong together.
out_json thread_of(const envelope& e) {
  if (!e.references.empty()) return e.references.front();
  if (!e.in_reply_to.empty()) return e.in_reply_to.front();
  return text_or_null(e.message_id);
}

}  // namespace

out_json to_json(const store::stored_message& m) {
  out_json j{{"id", to_string(m.id)},
             {"channel", to_string(m.channel)},
             {"sequence", m.sequence},
             {"received_at", rules::format_time(m.received_at)},
             {"internal_date", rules::format_time(m.internal_date)},
             {"size", m.size},
             {"sha256", m.has_body ? out_json(hex(m.digest)) : out_json(nullptr)},
             {"from", addresses(m.envelope.from)},
             {"to", addresses(m.envelope.to)},
             {"cc", addresses(m.envelope.cc)},
             {"subject", m.envelope.subject},
             {"date", time_or_null(m.envelope.date)},
             {"message_id", text_or_null(m.envelope.message_id)},
             {"in_reply_to", m.envelope.in_reply_to},
             {"references", m.envelope.references},
             {"thread", thread_of(m.envelope)},
             {"automatic", nullptr}};
  if (!m.envelope.automatic.empty()) j["automatic"] = {{"kind", m.envelope.automatic}, {"reason", m.envelope.automatic_reason}};
  if (m.source.protocol == protocol_kind::imap)
    j["source"] = {
        {"protocol", "imap"}, {"folder", m.source.folder}, {"uid_validity", m.source.uid_validity.value}, {"uid", m.source.uid.value}};
  else
    j["source"] = {{"protocol", "pop3"}, {"uidl", m.source.uidl}};
  j["has_body"] = m.has_body;
  j["problem"] = text_or_null(m.problem);
  return j;
}

out_json to_json(const store::node_record& n) {
  return {
      {"name", n.name}, {"state", n.state}, {"channels", n.channels}, {"lease_age_seconds", n.lease_age_seconds}, {"version", n.version}};
}

out_json to_json(const actors::test_report& r) {
  out_json j{{"ok", r.ok}};
  j["messages"] = r.messages ? out_json(*r.messages) : out_json(nullptr);
  j["unseen"] = r.unseen ? out_json(*r.unseen) : out_json(nullptr);
  j["account"] = text_or_null(r.account);
  j["steps"] = out_json::array();
  for (const auto& s : r.steps) {
    j["steps"].push_back({{"step", s.step},
                          {"ok", s.ok},
                          {"ms", s.took.count()},
                          {"detail", s.detail},
                          {"advice", text_or_null(s.advice)},
                          {"reason", s.reason ? out_json(to_string(*s.reason)) : out_json(nullptr)}});
  }
  return j;
}

namespace {

// RFC 5322, 2.2: fields in order, unfolded (a line that begins with a blank continues the one before). As sent: encoded words stay.
out_json header_fields(std::string_view header) {
  auto all = out_json::array();
  std::string name, value;
  const auto flush = [&] {
    if (!name.empty()) all.push_back({{"name", name}, {"value", value}});
    name.clear();
    value.clear();
  };
  while (!header.empty()) {
    auto line = header.substr(0, header.find('\n'));
    header.remove_prefix(std::min(header.size(), line.size() + 1));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) break;
    if (line.front() == ' ' || line.front() == '\t') {
      value.append(line);
      continue;
    }
    flush();
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    name = line.substr(0, colon);
    while (!name.empty() && name.back() == ' ') name.pop_back();
    line.remove_prefix(colon + 1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    value = line;
  }
  flush();
  return all;
}

}  // namespace

namespace {

/// Where inline images of this message are, by content id.
mime::inline_images images_of(const out_json& message, const mime::content& content) {
  const auto id = parse_message_id(message.value("id", ""));
  if (!id) return {};
  const auto base = "/v1/tenants/" + to_string(id->tenant) + "/messages/" + to_string(*id) + "/attachments/";
  std::map<std::string_view, std::size_t> by_id;   // of `content`, which outlives this
  for (const auto& a : content.attachments)
    if (!a.content_id.empty()) by_id.emplace(a.content_id, a.index);
  return [base, by_id = std::move(by_id)](std::string_view content_id) -> std::optional<std::string> {
    const auto at = by_id.find(content_id);
    return at == by_id.end() ? std::nullopt : std::optional(base + std::to_string(at->second));
  };
}

out_json pieces_of(const std::string& text) {
  auto all = out_json::array();
  for (const auto& piece : mime::split_reply(text)) {
    using kind = mime::text_piece::kind;
    all.push_back({{"kind", piece.is == kind::quote ? "quote" : piece.is == kind::signature ? "signature" : "reply"}, {"text", piece.text}});
  }
  return all;
}

void add_automatic(out_json& message, std::string_view raw, const mime::content& content) {
  message["automatic"] = nullptr;
  const auto found = mime::classify(raw);
  if (found.kind.empty()) return;
  message["automatic"] = {{"kind", found.kind}, {"reason", found.reason}, {"recipients", out_json::array()}};
  if (found.kind != "bounce") return;
  for (const auto& b : mime::delivery_report(content.delivery_status))
    message["automatic"]["recipients"].push_back({{"address", b.recipient}, {"action", b.action}, {"status", b.status}, {"diagnostic", b.diagnostic}});
}

}  // namespace

void add_content(out_json& message, std::string_view raw, const mime::content& content) {
  message["headers"] = header_fields(raw.substr(0, std::min(mime::header_end(raw), limits::header_parse_bytes)));
  add_automatic(message, raw, content);
  message["text"] = content.text.empty() ? out_json(nullptr) : out_json(content.text);
  message["text_parts"] = pieces_of(content.text);
  message["html"] = content.html.empty() ? out_json(nullptr) : out_json(content.html);
  const auto safe = content.html.empty() ? std::nullopt : mime::safe_html(content.html, images_of(message, content));
  message["html_safe"] = safe ? out_json(*safe) : out_json(nullptr);
  message["attachments"] = out_json::array();
  for (const auto& a : content.attachments) {
    message["attachments"].push_back({{"index", a.index},
                                      {"name", text_or_null(a.name)},
                                      {"type", a.type},
                                      {"size", a.size},
                                      {"content_id", text_or_null(a.content_id)},
                                      {"inline", a.is_inline}});
  }
  message["notes"] = content.notes;
  if (!safe && !content.html.empty()) message["notes"].push_back("the HTML is too large, or nested too deeply, to be made safe; html gives it as it came");
}

}  // namespace mailherd::api
