#include "transport/kafka.hpp"

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <thread>

#include "core/limits.hpp"

namespace mailherd::net {

namespace {

constexpr std::string_view scheme = "kafka:";
constexpr std::string_view key_header = "webhook-channel";
constexpr int poll_ms = 100;
/// What ends without the brokers' answer when the node stops comes again from another node.
constexpr int flush_ms = 2'000;

using handler = std::function<void(result<http_reply>)>;

struct free_producer {
  void operator()(rd_kafka_t* k) const { rd_kafka_destroy(k); }
};
using producer = std::unique_ptr<rd_kafka_t, free_producer>;

error failure_of(rd_kafka_resp_err_t code) {
  const std::string text = std::string("Kafka: ") + rd_kafka_err2str(code);
  switch (code) {
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT: return {failure::timed_out, text, {}};
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TRANSPORT: return {failure::connect_failed, text, {}};
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT: return {failure::cancelled, text, {}};
    default: return {failure::command_refused, text, {}};
  }
}

/// Every record produced is reported once; its opaque is the asker.
void on_report(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
  const std::unique_ptr<handler> on_done(static_cast<handler*>(message->_private));
  if (!on_done) return;
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) return (*on_done)(fail(failure_of(message->err)));
  (*on_done)(http_reply{200, {}, fmt::format("partition {}, offset {}", message->partition, message->offset)});
}

result<producer> make_producer(const std::vector<std::pair<std::string, std::string>>& properties) {
  auto* conf = rd_kafka_conf_new();
  std::array<char, 512> why{};
  const auto set = [&](const std::string& name, const std::string& value) {
    return rd_kafka_conf_set(conf, name.c_str(), value.c_str(), why.data(), why.size()) == RD_KAFKA_CONF_OK;
  };
  bool servers = false, timed = false;
  for (const auto& [name, value] : properties) {
    timed = timed || name == "message.timeout.ms";
    servers = servers || name == "bootstrap.servers" || name == "metadata.broker.list" || name == "test.mock.num.brokers";
    if (set(name, value)) continue;
    rd_kafka_conf_destroy(conf);
    return fail(failure::invalid_input, fmt::format("librdkafka does not take the property \"{}\" or its value", name));
  }
  // Not the operator's choice: without these an event could come twice or out of order.
  const auto timeout = std::to_string(milliseconds(limits::webhook_deadline).count());
  if (!servers || !set("enable.idempotence", "true") || (!timed && !set("message.timeout.ms", timeout)) || !set("linger.ms", "2")) {
    rd_kafka_conf_destroy(conf);
    return fail(failure::invalid_input, servers ? std::string("librdkafka refuses an idempotent producer: ") + why.data() : "the property bootstrap.servers is missing");
  }
  rd_kafka_conf_set_dr_msg_cb(conf, on_report);
  rd_kafka_conf_set_log_cb(conf, nullptr);
  producer made(rd_kafka_new(RD_KAFKA_PRODUCER, conf, why.data(), why.size()));
  if (made) return made;
  rd_kafka_conf_destroy(conf);
  return fail(failure::invalid_input, std::string("librdkafka cannot begin: ") + why.data());
}

}  // namespace

struct kafka_client::state {
  std::vector<std::pair<std::string, std::string>> properties;
  std::mutex guard;   // of `kafka` as a pointer
  std::shared_ptr<rd_kafka_t> kafka;
  std::atomic<bool> ending{false};
  std::thread thread;

  std::shared_ptr<rd_kafka_t> now() {
    const std::lock_guard lock(guard);
    return kafka;
  }

  void run() {
    while (!ending) {
      const auto k = now();
      rd_kafka_poll(k.get(), poll_ms);
      std::array<char, 256> why{};
      if (rd_kafka_fatal_error(k.get(), why.data(), why.size()) == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
      // An idempotent producer that lost its place never produces again: another one begins, and what was under way is tried anew.
      auto fresh = make_producer(properties);
      if (!fresh) continue;
      {
        const std::lock_guard lock(guard);
        kafka = std::shared_ptr<rd_kafka_t>(fresh->release(), free_producer{});
      }
      finish(k.get());
    }
  }

  static void finish(rd_kafka_t* k) {
    rd_kafka_flush(k, flush_ms);
    rd_kafka_purge(k, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(k, flush_ms);
  }
};

kafka_client::kafka_client() : state_(std::make_unique<state>()) {}

kafka_client::~kafka_client() {
  if (!state_->thread.joinable()) return;
  state_->ending = true;
  state_->thread.join();
  state::finish(state_->kafka.get());
}

result<std::unique_ptr<kafka_client>> kafka_client::create(const std::vector<std::pair<std::string, std::string>>& properties) {
  auto made = make_producer(properties);
  if (!made) return fail(made.error());
  std::unique_ptr<kafka_client> out(new kafka_client);
  out->state_->properties = properties;
  out->state_->kafka = std::shared_ptr<rd_kafka_t>(made->release(), free_producer{});
  out->state_->thread = std::thread([s = out->state_.get()] { s->run(); });
  return out;
}

result<std::vector<std::pair<std::string, std::string>>> kafka_client::parse(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> out;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.empty() || line.front() == '#') continue;
    const auto equals = line.find('=');
    if (equals == std::string::npos || equals == 0) return fail(failure::invalid_input, fmt::format("line {} is not name=value", number));
    auto name = line.substr(0, equals);
    while (!name.empty() && name.back() == ' ') name.pop_back();
    auto value = line.substr(equals + 1);
    value.erase(0, value.find_first_not_of(' '));
    out.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

std::optional<std::string> kafka_topic(std::string_view url) {
  if (!url.starts_with(scheme)) return std::nullopt;
  const auto topic = url.substr(scheme.size());
  const bool known = std::all_of(topic.begin(), topic.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
  if (topic.empty() || topic.size() > 249 || !known || topic == "." || topic == "..") return std::nullopt;
  return std::string(topic);
}

void kafka_client::send(http_request request, deadline, handler on_done) {
  const auto topic = kafka_topic(request.url);
  if (!topic) return on_done(fail(failure::invalid_input, "not a topic: kafka: and 1 to 249 letters, digits, dots, hyphens and underscores"));
  const auto k = state_->now();
  std::string key;
  auto* headers = rd_kafka_headers_new(request.headers.size());
  for (const auto& [name, value] : request.headers) {
    if (name == key_header) key = value;
    rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()), value.data(), static_cast<ssize_t>(value.size()));
  }
  auto asker = std::make_unique<handler>(std::move(on_done));
  const auto& body = request.body.reveal();
  const auto code = rd_kafka_producev(k.get(), RD_KAFKA_V_TOPIC(topic->c_str()), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key.data(), key.size()),
                                      RD_KAFKA_V_VALUE(const_cast<char*>(body.data()), body.size()), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(asker.get()), RD_KAFKA_V_END);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    static_cast<void>(asker.release());   // the report has it
    return;
  }
  rd_kafka_headers_destroy(headers);
  (*asker)(fail(failure_of(code)));
}

void sink_router::send(http_request request, deadline until, std::function<void(result<http_reply>)> on_done) {
  if (!std::string_view(request.url).starts_with(scheme)) return http_.send(std::move(request), until, std::move(on_done));
  if (kafka_) return kafka_->send(std::move(request), until, std::move(on_done));
  on_done(fail(failure::invalid_input, "this node has no Kafka cluster: set kafka_config_file"));
}

}  // namespace mailherd::net
