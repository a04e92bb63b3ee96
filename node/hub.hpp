// node/hub: what API, herd and database have to tell each other, while each of them may not be there yet or any more.
//
// Owns:   who is there now.
// Never:  blocks but for an attach or detach under way; keeps what it passes on.
// Used by: node (attaches, detaches), the API (asks it as `control`), the database's listener (tells it news).
// Threads: any.
#pragma once

#include <shared_mutex>

#include "actors/herd.hpp"
#include "api/server.hpp"

namespace mailherd::node {

class hub final : public actors::control {
 public:
  /// REQUIRED: what is attached is detached (nullptr) before it is destroyed.
  void attach(actors::herd* herd) {
    const std::unique_lock lock(mutex_);
    herd_ = herd;
  }
  void attach(api::server* server) {
    const std::unique_lock lock(mutex_);
    server_ = server;
  }

  // ---- news of the database
  void feed(tenant_id tenant) {
    const std::shared_lock lock(mutex_);
    if (server_ != nullptr) server_->wake(tenant);
    if (herd_ != nullptr) herd_->fed(tenant);
  }

  void watched(tenant_id tenant, channel_id channel) {
    const std::shared_lock lock(mutex_);
    if (server_ != nullptr) server_->changed(tenant, channel);
  }

  // ---- control
  void changed(tenant_id tenant, channel_id channel) override {
    const std::shared_lock lock(mutex_);
    if (herd_ != nullptr) herd_->changed(tenant, channel);
  }
  void test(actors::test_subject subject, deadline until, std::function<void(result<actors::test_report>)> on_done) override {
    {
      const std::shared_lock lock(mutex_);
      if (herd_ != nullptr) return herd_->test(std::move(subject), until, std::move(on_done));
    }
    on_done(fail(failure::cancelled, "the node is starting or stopping"));
  }
  void connect(actors::connect_request wanted, deadline until, std::function<void(result<actors::connect_answer>)> on_done) override {
    {
      const std::shared_lock lock(mutex_);
      if (herd_ != nullptr) return herd_->connect(std::move(wanted), until, std::move(on_done));
    }
    on_done(fail(failure::cancelled, "the node is starting or stopping"));
  }
  void come_back(actors::browser_return what, deadline until, std::function<void(result<actors::consent_outcome>)> on_done) override {
    {
      const std::shared_lock lock(mutex_);
      if (herd_ != nullptr) return herd_->come_back(std::move(what), until, std::move(on_done));
    }
    on_done(fail(failure::cancelled, "the node is starting or stopping"));
  }
  void look_at_link(secret<> token, std::function<void(result<actors::link_view>)> on_done) override {
    {
      const std::shared_lock lock(mutex_);
      if (herd_ != nullptr) return herd_->look_at_link(std::move(token), std::move(on_done));
    }
    on_done(fail(failure::cancelled, "the node is starting or stopping"));
  }
  void follow_link(secret<> token, const std::string& base_url, std::optional<sha256_digest> browser, deadline until,
                   std::function<void(result<actors::connect_answer>)> on_done) override {
    {
      const std::shared_lock lock(mutex_);
      if (herd_ != nullptr) return herd_->follow_link(std::move(token), base_url, browser, until, std::move(on_done));
    }
    on_done(fail(failure::cancelled, "the node is starting or stopping"));
  }
  [[nodiscard]] actors::app_setup setup_of(const oauth_app& app, const std::string& base_url, const std::string& mailbox) const override {
    const std::shared_lock lock(mutex_);
    return herd_ != nullptr ? herd_->setup_of(app, base_url, mailbox) : actors::app_setup{};
  }
  result<void> drain(const std::string& node) override {
    const std::shared_lock lock(mutex_);
    if (herd_ == nullptr) return fail(failure::store_unavailable, "the node is starting or stopping");
    return herd_->drain(node);
  }
  [[nodiscard]] bool serving() const override {
    const std::shared_lock lock(mutex_);
    return herd_ != nullptr && herd_->serving();
  }
  [[nodiscard]] bool started() const override {
    const std::shared_lock lock(mutex_);
    return herd_ != nullptr && herd_->started();
  }

 private:
  mutable std::shared_mutex mutex_;
  actors::herd* herd_ = nullptr;
  api::server* server_ = nullptr;
};

}  // namespace mailherd::node
