// api/server: puts listeners, service and metrics together; see the header.
#include "api/server.hpp"

#include <fmt/format.h>

#include "api/http_server.hpp"
#include "api/service.hpp"

namespace mailherd::api {

struct server::parts {
  std::shared_ptr<http_server> http;
  std::shared_ptr<api::service> service;
  std::uint16_t port = 0, metrics_port = 0;
  milliseconds grace{0};
};

namespace {

// The metrics listener: one path, no token (it listens on loopback or a pod's network; its labels name tenants, never addresses).
request_handler metrics_handler(const std::shared_ptr<service>& s, std::function<std::string()> text) {
  return [s, text = std::move(text)](const request& wanted, const respond& answer) {
    if (wanted.target.substr(0, wanted.target.find('?')) != "/metrics") return (*answer)(not_found("There is only /metrics here."));
    if (wanted.method != verb::get && wanted.method != verb::head) {
      auto r = problem(405, "method-not-allowed", "Method not allowed", "This path knows: GET, HEAD.");
      r.headers.emplace_back("Allow", "GET, HEAD");
      return (*answer)(std::move(r));
    }
    const bool taken = s->workshop.submit([s, text, answer] {
      response r;
      try {
        r.body = text();
        r.headers.emplace_back("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
      } catch (const std::exception& e) {
        r = s->failed({failure::internal, std::string("metrics: ") + e.what(), {}});
      }
      (*answer)(std::move(r));
    });
    if (!taken) (*answer)(unavailable("Busy.", 1));
  };
}

}  // namespace

server::server() : parts_(std::make_unique<parts>()) {}

server::~server() { stop(); }

result<std::unique_ptr<server>> server::start(options wanted, store::executor& store, actors::control& control,
                                              std::function<std::string()> metrics_text) {
  if (wanted.operator_tokens.empty()) return fail(failure::invalid_input, "no operator token is configured (MAILHERD_ADMIN_TOKEN)");
  for (const auto& token : wanted.operator_tokens)
    if (token.empty()) return fail(failure::invalid_input, "an operator token is empty (MAILHERD_ADMIN_TOKEN)");
  std::unique_ptr<server> made(new server());
  auto& p = *made->parts_;
  p.grace = wanted.stop_grace;
  p.http = http_server::create();
  const http_limits bounds{wanted.connections,    limits::api_header_bytes, limits::api_body_bytes,
                           wanted.header_timeout, wanted.idle_timeout,      wanted.stall_timeout};
  const auto public_url = wanted.public_url, listen = wanted.listen, metrics_listen = wanted.metrics_listen;
  p.service = std::make_shared<service>(std::move(wanted), store, control, p.http);
  const auto port =
      p.http->listen(listen, bounds, [s = p.service](request r, respond answer) { s->handle(std::move(r), std::move(answer)); });
  if (!port) return fail(port.error());
  p.port = *port;
  // Never from a request's Host header: whoever sends it would choose where people are sent.
  p.service->base_url = !public_url.empty() ? public_url : fmt::format("http://{}:{}", listen.substr(0, listen.rfind(':')), *port);
  while (p.service->base_url.ends_with('/')) p.service->base_url.pop_back();
  if (!metrics_listen.empty()) {
    const auto metrics_port = p.http->listen(metrics_listen, bounds, metrics_handler(p.service, std::move(metrics_text)));
    if (!metrics_port) return fail(metrics_port.error());
    p.metrics_port = *metrics_port;
  }
  p.http->run();
  return made;
}

void server::wake(tenant_id tenant) {
  parts_->http->post([s = parts_->service, tenant] {
    s->wake(tenant);
    s->news().mail(tenant);
  });
}

void server::changed(tenant_id tenant, channel_id channel) {
  parts_->http->post([s = parts_->service, tenant, channel] { s->news().channel(tenant, channel); });
}

void server::stop() {
  if (!parts_->http) return;
  parts_->http->post([s = parts_->service] { s->stop_waiting(); });
  parts_->http->stop(parts_->grace);
  parts_->service->stop_waiting();  // whoever began to wait after the first call; the loop has ended, this thread may
  parts_->service->workshop.stop();
}

std::uint16_t server::port() const { return parts_->port; }
std::uint16_t server::metrics_port() const { return parts_->metrics_port; }

}  // namespace mailherd::api
