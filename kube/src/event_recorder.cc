#include "sluice/kube/event_recorder.h"

#include <random>

#include <fmt/format.h>

#include "sluice/core/timestamp.h"

namespace sluice::kube {
namespace {

constexpr std::size_t kMaxMessage = 1024;
constexpr std::size_t kMaxRemembered = 1024;
// A repeated event is written at most this often; the count does not get lost.
constexpr std::chrono::seconds kRewriteInterval{5};

// Cut at a character's start, so that the text stays UTF-8.
std::string Shortened(std::string text) {
  if (text.size() <= kMaxMessage) return text;
  std::size_t end = kMaxMessage;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  text.resize(end);
  return text;
}

std::string RandomSuffix() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}", device(), device());
}

Json Reference(const Json& about) {
  Json reference = {{"apiVersion", StringAt(about, "/apiVersion")},
                    {"kind", StringAt(about, "/kind")},
                    {"name", StringAt(about, "/metadata/name")},
                    {"uid", StringAt(about, "/metadata/uid")},
                    {"resourceVersion", StringAt(about, "/metadata/resourceVersion")}};
  if (const std::string ns = StringAt(about, "/metadata/namespace"); !ns.empty()) {
    reference["namespace"] = ns;
  }
  return reference;
}

}  // namespace

EventRecorder::EventRecorder(Cluster& cluster, std::string component, const Clock& clock,
                             platform::Log log, platform::Metrics& metrics)
    : cluster_(cluster),
      component_(std::move(component)),
      clock_(clock),
      log_(std::move(log)),
      failures_(metrics.AddCounter("sluice_event_failures_total", "Events that were not written")) {
}

EventRecorder::Known EventRecorder::Remember(const std::string& fingerprint,
                                             const ObjectKey& fresh_name) {
  const auto now = clock_.Now();
  return memory_.With([&](Memory& memory) {
    const auto it = memory.by_fingerprint.find(fingerprint);
    if (it == memory.by_fingerprint.end()) {
      memory.recent.push_front(
          {.fingerprint = fingerprint, .event = fresh_name, .count = 1, .written = now});
      memory.by_fingerprint[fingerprint] = memory.recent.begin();
      if (memory.recent.size() > kMaxRemembered) {
        memory.by_fingerprint.erase(memory.recent.back().fingerprint);
        memory.recent.pop_back();
      }
      return memory.recent.front();
    }
    memory.recent.splice(memory.recent.begin(), memory.recent, it->second);
    Known& known = memory.recent.front();
    ++known.count;
    if (now - known.written < kRewriteInterval) {
      Known skip = known;
      skip.count = 0;
      return skip;
    }
    known.written = now;
    return known;
  });
}

void EventRecorder::Report(const Status& status) {
  if (status) return;
  failures_.Add();
  log_.Warn("event not written", {{"error", status.error().message}});
}

void EventRecorder::Record(const Json& about, const EventText& text) {
  const ObjectKey subject = KeyOf(about);
  const std::string message = Shortened(text.message);
  const std::string type = text.type == EventType::kWarning ? "Warning" : "Normal";
  const std::string fingerprint =
      fmt::format("{}\n{}\n{}\n{}", StringAt(about, "/metadata/uid", subject.ToString()), type,
                  text.reason, message);
  const Known event =
      Remember(fingerprint, {subject.ns.empty() ? "default" : subject.ns,
                             fmt::format("{}.{}", subject.name.substr(0, 230), RandomSuffix())});
  if (event.count == 0) return;
  const std::string now = FormatTime(clock_.WallNow());
  if (event.count > 1) {
    auto patched = cluster_.MergePatch(resources::kEvent, event.event,
                                       {{"count", event.count}, {"lastTimestamp", now}});
    if (patched) return;
    // Events expire after an hour; then it is made anew below.
    if (patched.error().code != Code::kNotFound) return Report(Fail(patched.error()));
  }
  auto created = cluster_.Create(
      resources::kEvent, {{"apiVersion", "v1"},
                          {"kind", "Event"},
                          {"metadata", {{"name", event.event.name}, {"namespace", event.event.ns}}},
                          {"involvedObject", Reference(about)},
                          {"type", type},
                          {"reason", text.reason},
                          {"message", message},
                          {"source", {{"component", component_}}},
                          {"reportingComponent", component_},
                          {"reportingInstance", component_},
                          {"firstTimestamp", now},
                          {"lastTimestamp", now},
                          {"count", event.count}});
  if (!created) Report(Fail(created.error()));
}

}  // namespace sluice::kube
