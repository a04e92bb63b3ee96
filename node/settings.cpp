// node/settings: the table of settings. A new one is a row here, a field in config.hpp and a row in docs/configuration.md, which a test
// compares.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <sstream>

#include "core/limits.hpp"
#include "node/config.hpp"
#include "transport/kafka.hpp"
#include "transport/network.hpp"

namespace mailherd::node {

namespace {

using kind = setting::kind;

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || ec != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

template <class Number>
std::string number(const std::string& text, Number& out, std::int64_t least, std::int64_t most) {
  const auto value = whole_number(text);
  if (!value || *value < least || *value > most) return fmt::format("\"{}\" is not a whole number from {} to {}", text, least, most);
  out = static_cast<Number>(*value);
  return {};
}

struct unit {
  char letter;
  std::int64_t seconds;
};
constexpr unit units[] = {{'d', 86'400}, {'h', 3'600}, {'m', 60}, {'s', 1}};

std::string in_words(seconds span) {
  for (const auto& u : units)
    if (span.count() != 0 && span.count() % u.seconds == 0) return fmt::format("{}{}", span.count() / u.seconds, u.letter);
  return "0s";
}

std::string span(const std::string& text, seconds& out, seconds least, seconds most) {
  for (const auto& u : units) {
    if (text.empty() || text.back() != u.letter) continue;
    const auto count = whole_number(std::string_view(text).substr(0, text.size() - 1));
    // Divided rather than multiplied: no number is large enough to wrap around.
    if (!count || *count > most.count() / u.seconds || seconds(*count * u.seconds) < least) break;
    out = seconds(*count * u.seconds);
    return {};
  }
  return fmt::format("\"{}\" is not a time from {} to {}: write a number and its unit, like 90s, 5m, 12h, 30d", text, in_words(least),
                     in_words(most));
}

std::string yes_or_no(const std::string& text, bool& out) {
  if (text != "true" && text != "false") return fmt::format("\"{}\" is neither true nor false", text);
  out = text == "true";
  return {};
}

/// Only its shape: the listener itself finds out whether the address is one of this machine.
std::string endpoint(const std::string& text, std::string& out) {
  const auto colon = text.rfind(':');
  const auto port = colon == std::string::npos ? std::nullopt : whole_number(std::string_view(text).substr(colon + 1));
  const bool unbracketed = colon != std::string::npos && text.front() != '[' && text.find(':') != colon;
  if (!port || *port > 65'535 || colon == 0 || unbracketed)
    return fmt::format("\"{}\" is not an address and a port, like 127.0.0.1:8080 or [::1]:8080", text);
  out = text;
  return {};
}

std::string web_address(const std::string& text, std::string& out) {
  if (!text.starts_with("http://") && !text.starts_with("https://"))
    return fmt::format("\"{}\" does not begin with http:// or https://", text);
  out = text;
  while (out.ends_with('/')) out.pop_back();
  return {};
}

/// It becomes part of paths, events and metrics of the cluster.
std::string node_name(const std::string& text, std::string& out) {
  constexpr std::string_view known = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  if (text.size() > 253 || text.find_first_not_of(known) != std::string::npos)
    return "a node's name has at most 253 letters, digits, dots, hyphens and underscores";
  out = text;
  return {};
}

std::string tokens(config& c, const std::string& text) {
  auto parsed = parse_tokens(text);
  if (!parsed) return parsed.error().detail;
  c.admin_tokens = std::move(*parsed);
  return {};
}

std::string database_url(config& c, const std::string& text) {
  if (!text.starts_with("postgresql://") && !text.starts_with("postgres://") && text.find('=') == std::string::npos)
    return "it is not a database URL, like postgresql://user:password@host:5432/mailherd";
  c.database_url = secret<>(text);
  return {};
}

std::string targets(config& c, const std::string& text) {
  if (const auto parsed = net::target_policy::parse(text); !parsed)
    return parsed.error().detail + "; write for example 10.0.0.0/8,mail.internal or all";
  c.private_targets = text;
  return {};
}

/// May hold a password: what is wrong with it is said without its text.
std::string kafka(config& c, const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fmt::format("{} cannot be read", file);
  std::stringstream text;
  text << in.rdbuf();
  c.kafka_config = std::move(text).str();
  if (const auto parsed = net::kafka_client::parse(c.kafka_config); !parsed) return parsed.error().detail;
  return {};
}

std::string level(config& c, const std::string& text) {
  constexpr std::string_view names[] = {"debug", "info", "warning", "error"};
  for (std::size_t i = 0; i < std::size(names); ++i)
    if (text == names[i]) return c.log_level = static_cast<actors::log_level>(i), std::string();
  return fmt::format("\"{}\" is not a level: debug, info, warning, error", text);
}

std::string format(config& c, const std::string& text) {
  if (text != "text" && text != "json") return fmt::format("\"{}\" is neither text nor json", text);
  c.json_logs = text == "json";
  return {};
}

std::string retention(config& c, const std::string& text) {
  seconds kept{0};
  constexpr seconds least{7 * 86'400};   // mail is its own outbox: a receiver that was away over a long weekend finds everything
  if (text != "forever")
    if (auto why = span(text, kept, least, seconds(36'500LL * 86'400)); !why.empty()) return why + ", or forever";
  c.retention_days = kept.count() / 86'400;
  return {};
}

std::vector<setting> make_table() {
  const std::string by_cores = "0";
  return {
      {"database_url", "", "postgresql://user:password@host/database; without it the node runs its own PostgreSQL under data_dir",
       kind::secret, database_url},
      {"data_dir", "./mailherd-data", "Own database and generated keys", kind::text,
       [](config& c, const std::string& v) { return c.data_dir = v, std::string(); }},
      {"listen", "127.0.0.1:8080", "Address and port of the API and the console", kind::text,
       [](config& c, const std::string& v) { return endpoint(v, c.listen); }},
      {"metrics_listen", "127.0.0.1:9464", "Address and port of /metrics; none: no metrics", kind::text,
       [](config& c, const std::string& v) {
         return v == "none" ? (c.metrics_listen.clear(), std::string()) : endpoint(v, c.metrics_listen);
       }},
      {"public_url", "", "Base of addresses that people and identity providers are sent to; without it http:// and listen", kind::text,
       [](config& c, const std::string& v) { return web_address(v, c.public_url); }},
      {"node_name", "", "Unique in the cluster; without it the host's name", kind::text,
       [](config& c, const std::string& v) { return node_name(v, c.node_name); }},
      {"admin_token", "", "Operator token of the API; generated into data_dir with an own database, else required", kind::secret, tokens},
      {"admin_token_file", "", "File that holds it; several lines: several tokens", kind::text,
       [](config&, const std::string&) { return std::string(); }},
      {"master_key", "", "Keys that seal credentials (mailherd keys generate); the first seals; generated likewise, else required",
       kind::secret, [](config& c, const std::string& v) { return c.master_key = secret<>(v), std::string(); }},
      {"master_key_file", "", "File that holds them, one a line", kind::text, [](config&, const std::string&) { return std::string(); }},
      {"ca_file", "", "Further trusted certificate authorities (PEM) of mail servers, token endpoints and webhooks", kind::text,
       [](config& c, const std::string& v) { return c.ca_file = v, std::string(); }},
      {"kafka_config_file", "", "librdkafka's properties (bootstrap.servers=...), one a line: endpoints \"kafka:<topic>\" are possible then", kind::text, kafka},
      {"private_targets", "", "Networks and host names that tenants' servers may have although they are private or loopback; all: any",
       kind::text, targets},
      {"allow_plaintext", "false", "Allow channels without TLS and http:// token endpoints", kind::yes_or_no,
       [](config& c, const std::string& v) { return yes_or_no(v, c.allow_plaintext); }},
      {"bind_address", "", "Source address of connections to mail servers; without it the system's choice", kind::text,
       [](config& c, const std::string& v) { return c.bind_address = v, std::string(); }},
      {"log_format", "text", "text for people, json for machines", kind::text, format},
      {"log_level", "info", "debug, info, warning, error", kind::text, level},
      {"lease_ttl", in_words(limits::lease_ttl), "How long a silent node keeps its channels", kind::text,
       [](config& c, const std::string& v) { return span(v, c.lease_ttl, limits::lease_ttl_min, limits::lease_ttl_max); }},
      {"poll_interval", in_words(limits::poll_interval), "Between two looks into a POP3 mailbox, or an IMAP one without IDLE", kind::text,
       [](config& c, const std::string& v) { return span(v, c.poll_interval, seconds(1), seconds(86'400)); }},
      {"stop_grace", in_words(limits::stop_grace), "What a stopping node has to hand over its channels", kind::text,
       [](config& c, const std::string& v) { return span(v, c.stop_grace, seconds(1), seconds(3'600)); }},
      {"retention", "forever", "Messages older than this are dropped, a month at a time", kind::text, retention},
      {"max_channels", "100000", "This node takes no more channels than this", kind::text,
       [](config& c, const std::string& v) { return number(v, c.max_channels, 1, 10'000'000); }},
      {"logins_per_host", "32", "Logins at one mail host at once", kind::text,
       [](config& c, const std::string& v) { return number(v, c.logins_per_host, 1, 10'000); }},
      {"logins_per_node", "128", "Logins at once", kind::text,
       [](config& c, const std::string& v) { return number(v, c.logins_per_node, 1, 100'000); }},
      {"network_threads", by_cores, "Threads for connections; 0: one for every two cores", kind::text,
       [](config& c, const std::string& v) { return number(v, c.network_threads, 0, 256); }},
      {"actor_threads", by_cores, "Threads for decisions; 0: one for every two cores", kind::text,
       [](config& c, const std::string& v) { return number(v, c.actor_threads, 0, 256); }},
      {"storage_workers", "4", "Threads for the database, each with a connection", kind::text,
       [](config& c, const std::string& v) { return number(v, c.storage_workers, 1, 64); }},
  };
}

}  // namespace

result<std::vector<secret<>>> parse_tokens(const std::string& text) {
  std::vector<secret<>> out;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.pop_back();
    if (line.empty()) continue;
    if (std::any_of(line.begin(), line.end(), [](char c) { return c < '!' || c > '~'; }))
      return fail(failure::invalid_input, "a token may hold no blanks and only ASCII characters; make one with: openssl rand -hex 32");
    out.emplace_back(std::move(line));
  }
  if (out.empty()) return fail(failure::invalid_input, "there is no token in it; make one with: openssl rand -hex 32");
  return out;
}

const std::vector<setting>& settings() {
  static const std::vector<setting> table = make_table();
  return table;
}

}  // namespace mailherd::node
