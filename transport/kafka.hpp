// transport/kafka: events into topics of a Kafka cluster, behind the interface that webhooks go out by: a request to "kafka:<topic>" is produced there, and
// answered like HTTP once the brokers have it.
//
// Owns:   one idempotent producer (librdkafka), its poll thread, requests under way. Key: the header "webhook-channel", so that a channel's events stay in
//         one partition; all other headers of the request travel as headers of the record.
// Never:  starts unless it is configured; reorders what is handed in one after the other; takes a broker's address from a tenant (the operator's file
//         names them, and TLS and SASL as librdkafka's properties).
// Used by: node. Threads: any may send; answers come on the poll thread.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "transport/net.hpp"

namespace mailherd::net {

class kafka_client final : public http_client {
 public:
  /// librdkafka's properties, "bootstrap.servers" among them. failure::invalid_input names the one that is wrong, never its value.
  static result<std::unique_ptr<kafka_client>> create(const std::vector<std::pair<std::string, std::string>>& properties);
  /// Properties out of a file's text: name=value, one a line; blank lines and lines that begin with # are skipped.
  static result<std::vector<std::pair<std::string, std::string>>> parse(const std::string& text);
  ~kafka_client() override;

  void send(http_request request, deadline until, std::function<void(result<http_reply>)> on_done) override;

 private:
  kafka_client();
  struct state;
  std::unique_ptr<state> state_;
};

/// "kafka:mail-events" → "mail-events"; nullopt for any other URL, or a topic that Kafka would not take.
std::optional<std::string> kafka_topic(std::string_view url);

/// Sends requests to "kafka:..." to the one, everything else to the other. `kafka` may be null: such requests fail then.
class sink_router final : public http_client {
 public:
  sink_router(http_client& http, std::unique_ptr<http_client> kafka) : http_(http), kafka_(std::move(kafka)) {}
  void send(http_request request, deadline until, std::function<void(result<http_reply>)> on_done) override;

 private:
  http_client& http_;
  std::unique_ptr<http_client> kafka_;
};

}  // namespace mailherd::net
