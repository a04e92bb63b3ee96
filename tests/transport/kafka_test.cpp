// Events into Kafka, against librdkafka's own mock cluster: order per channel, exactly once also when brokers refuse or lose answers, an answer when all are down.
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

#include "transport/kafka.hpp"

namespace mailherd::test {
namespace {

/// Three brokers in this process.
class mock_cluster {
 public:
  mock_cluster() {
    char why[256];
    auto* conf = rd_kafka_conf_new();
    owner_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    cluster_ = rd_kafka_mock_cluster_new(owner_, 3);
    rd_kafka_mock_topic_create(cluster_, "mail", 4, 3);
  }
  ~mock_cluster() {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(owner_);
  }
  [[nodiscard]] std::string servers() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }
  [[nodiscard]] rd_kafka_mock_cluster_t* get() const { return cluster_; }

  struct record {
    std::string key, value, id;
    int partition;
  };
  /// The first `n` records of the topic.
  [[nodiscard]] std::vector<record> read(std::size_t n) const {
    char why[256];
    auto* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", servers().c_str(), why, sizeof why);
    rd_kafka_conf_set(conf, "group.id", "reader", why, sizeof why);
    auto* consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    rd_kafka_poll_set_consumer(consumer);
    auto* all = rd_kafka_topic_partition_list_new(4);
    for (int p = 0; p < 4; ++p) rd_kafka_topic_partition_list_add(all, "mail", p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(consumer, all);
    rd_kafka_topic_partition_list_destroy(all);
    std::vector<record> out;
    // A further second after the last one: what was produced twice must be seen.
    for (int quiet = 0; quiet < (out.size() < n ? 30 : 2);) {
      auto* m = rd_kafka_consumer_poll(consumer, 500);
      if (m == nullptr) {
        ++quiet;
        continue;
      }
      if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_headers_t* headers = nullptr;
        const void* id = nullptr;
        std::size_t size = 0;
        if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_header_get_last(headers, "webhook-id", &id, &size);
        out.push_back({std::string(static_cast<char*>(m->key), m->key_len), std::string(static_cast<char*>(m->payload), m->len),
                       id == nullptr ? "" : std::string(static_cast<const char*>(id), size), m->partition});
        quiet = 0;
      }
      rd_kafka_message_destroy(m);
    }
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return out;
  }

 private:
  rd_kafka_t* owner_;
  rd_kafka_mock_cluster_t* cluster_;
};

/// Sends and waits for the answer, as the deliverer does within a channel.
result<net::http_reply> send(net::http_client& to, int channel, int n, const std::string& url = "kafka:mail") {
  std::mutex guard;
  std::condition_variable changed;
  std::optional<result<net::http_reply>> answer;
  net::http_request r;
  r.url = url;
  r.headers = {{"webhook-id", "m1-" + std::to_string(n)}, {"webhook-channel", "c" + std::to_string(channel)}};
  r.body = secret<>("event " + std::to_string(n));
  to.send(std::move(r), {}, [&](result<net::http_reply> a) {
    const std::lock_guard lock(guard);
    answer = std::move(a);
    changed.notify_all();
  });
  std::unique_lock lock(guard);
  changed.wait_for(lock, seconds(60), [&] { return answer.has_value(); });
  return answer.value_or(fail(failure::internal, "no answer"));
}

std::unique_ptr<net::kafka_client> client(const mock_cluster& cluster) {
  auto made = net::kafka_client::create({{"bootstrap.servers", cluster.servers()}, {"message.timeout.ms", "5000"}});
  EXPECT_TRUE(made) << describe(made.error());
  return std::move(*made);
}

TEST(kafka, events_of_a_channel_lie_in_one_partition_in_order_and_once_although_brokers_refuse) {
  mock_cluster cluster;
  auto to = client(cluster);
  constexpr std::int16_t produce = 0;   // the protocol's number of that request
  for (int n = 0; n < 60; ++n) {
    if (n % 15 == 7)
      rd_kafka_mock_push_request_errors(cluster.get(), produce, 2, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
    const auto answer = send(*to, n % 5, n);
    ASSERT_TRUE(answer) << describe(answer.error());
    EXPECT_EQ(answer->status, 200);
  }
  const auto records = cluster.read(60);
  ASSERT_EQ(records.size(), 60U);
  std::map<std::string, int> partition, last;
  for (const auto& r : records) {
    const auto n = std::stoi(r.id.substr(3));
    EXPECT_EQ(r.value, "event " + std::to_string(n));
    EXPECT_EQ(r.key, "c" + std::to_string(n % 5));
    if (partition.contains(r.key)) {
      EXPECT_EQ(partition[r.key], r.partition);
      EXPECT_GT(n, last[r.key]);
    }
    partition[r.key] = r.partition;
    last[r.key] = n;
  }
}

TEST(kafka, a_cluster_that_is_away_is_an_answer_and_not_a_silence) {
  mock_cluster cluster;
  auto to = client(cluster);
  for (int broker = 1; broker <= 3; ++broker) rd_kafka_mock_broker_set_down(cluster.get(), broker);
  const auto answer = send(*to, 1, 1);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, failure::timed_out) << describe(answer.error());
}

TEST(kafka, what_is_under_way_at_the_end_is_answered) {
  mock_cluster cluster;
  auto to = client(cluster);
  for (int broker = 1; broker <= 3; ++broker) rd_kafka_mock_broker_set_down(cluster.get(), broker);
  net::http_request r;
  r.url = "kafka:mail";
  std::optional<result<net::http_reply>> answer;
  to->send(std::move(r), {}, [&](result<net::http_reply> a) { answer = std::move(a); });
  to.reset();
  ASSERT_TRUE(answer);
  EXPECT_FALSE(*answer);
}

TEST(kafka, properties_are_checked_and_topics_too) {
  EXPECT_EQ(net::kafka_client::create({{"no.such.property", "secret-canary"}}).error().detail.find("secret-canary"), std::string::npos);
  EXPECT_FALSE(net::kafka_client::create({}));
  const auto parsed = net::kafka_client::parse("# comment\nbootstrap.servers = a:9092,b:9092\r\n\nsasl.password=x=y\n");
  ASSERT_TRUE(parsed);
  EXPECT_EQ((*parsed)[0].second, "a:9092,b:9092");
  EXPECT_EQ((*parsed)[1].second, "x=y");
  EXPECT_FALSE(net::kafka_client::parse("nonsense\n"));
  EXPECT_EQ(net::kafka_topic("kafka:mail.events_1-a"), "mail.events_1-a");
  for (const char* bad : {"kafka:", "kafka:a/b", "kafka://host/topic", "https://x.test/", "kafka:..", "kafka:a b"}) EXPECT_FALSE(net::kafka_topic(bad)) << bad;
}

}  // namespace
}  // namespace mailherd::test
