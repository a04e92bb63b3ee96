// api/handlers: one function per route. Called on the HTTP thread; each ends in exactly one answer.
//
// Owns:   names only; the definitions are in handlers_*.cpp by subject.
// Used by: the routing table.
#pragma once

#include "api/routes.hpp"

namespace mailherd::api::handle {

// handlers_node.cpp
void healthz(service&, const call&);
void startupz(service&, const call&);
void readyz(service&, const call&);
void openapi(service&, const call&);
void cluster(service&, const call&);
void drain(service&, const call&);

// handlers_tenants.cpp
void create_tenant(service&, const call&);
void list_tenants(service&, const call&);
void get_tenant(service&, const call&);
void edit_tenant(service&, const call&);
void delete_tenant(service&, const call&);
void create_key(service&, const call&);
void list_keys(service&, const call&);
void delete_key(service&, const call&);
void create_app(service&, const call&);
void list_apps(service&, const call&);
void get_app(service&, const call&);
void edit_app(service&, const call&);
void delete_app(service&, const call&);

// handlers_channels.cpp
void create_channel(service&, const call&);
void list_channels(service&, const call&);
void get_channel(service&, const call&);
void edit_channel(service&, const call&);
void delete_channel(service&, const call&);
void put_auth(service&, const call&);
void test_channel(service&, const call&);
void test_connection(service&, const call&);
void list_events(service&, const call&);
void move_channel(service&, const call&);

// handlers_console.cpp
void sign_in(service&, const call&);
void get_session(service&, const call&);
void sign_out(service&, const call&);
void live(service&, const call&);
void overview(service&, const call&);
void activity(service&, const call&);

// handlers_connect.cpp
void connect_channel(service&, const call&);
void get_connect(service&, const call&);
void roll_back_auth(service&, const call&);
void app_setup(service&, const call&);
void oauth_callback(service&, const call&);
void look_at_link(service&, const call&);
void follow_link(service&, const call&);

// handlers_messages.cpp
void feed(service&, const call&);
void newest(service&, const call&);
void get_html(service&, const call&);
void stream_feed(service&, const call&);
void get_message(service&, const call&);
void get_raw(service&, const call&);
void get_attachment(service&, const call&);

// handlers_webhooks.cpp
void create_webhook(service&, const call&);
void list_webhooks(service&, const call&);
void get_webhook(service&, const call&);
void edit_webhook(service&, const call&);
void delete_webhook(service&, const call&);
void rotate_webhook(service&, const call&);
void replay_webhook(service&, const call&);
void test_webhook(service&, const call&);
void list_deliveries(service&, const call&);
void retry_delivery(service&, const call&);

}  // namespace mailherd::api::handle
