#include "check_scripts.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>
#include <openssl/sha.h>

#include "sluice/core/names.h"

#include "keys.h"

namespace sluice::injection {
namespace {

// Arguments: directory of the mount, mount type, sub path of the dataset (may be empty).
constexpr const char* kSidecarScriptText = R"(#!/bin/bash
# Waits until the FUSE file system below $1 is mounted and shows $3.
# Exit codes: 125 no output, 1 not mounted, 2 sub path missing.

# A hook's own output is lost; write to that of the container.
redirected=no
for _ in 1 2 3 4 5; do
  if { exec >/proc/1/fd/1 2>&1; } 2>/dev/null; then
    redirected=yes
    break
  fi
  sleep 1
done
[[ $redirected == yes ]] || exit 125

dir=$1
type=$2
sub_path=${3:-}

mounted() {
  local line
  while IFS= read -r line; do
    if [[ $type == jindo ]]; then
      [[ $line == *"$dir"* && $line == */dev/fuse* ]] && return 0
    else
      [[ $line == *"$dir"* && $line == *"$type"* ]] && return 0
    fi
  done </proc/self/mountinfo
  return 1
}

shown() {
  compgen -G "$dir/*/$sub_path" >/dev/null
}

wait_for() {
  local deadline=$((SECONDS + 30))
  until "$1"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.5
  done
}

if ! wait_for mounted; then
  echo "$type is not mounted below $dir after 30 s"
  exit 1
fi
if ! wait_for shown; then
  echo "$dir/*/$sub_path does not exist after 30 s"
  exit 2
fi
echo "$type is mounted below $dir"
)";

// Arguments: mount paths joined by ":", runtime types joined by ":".
constexpr const char* kAppScriptText = R"(#!/bin/bash
# Waits until each of the paths $1 is a mount of the runtime type at the same place in $2.
# Exit code 1: one of them is not mounted after 10 s.

IFS=: read -r -a paths <<<"$1"
IFS=: read -r -a types <<<"$2"

# The file system type is the first field after the separator "-", the ninth when there is one
# optional field.
mounted() {
  local path=$1 wanted=$2 line rest
  local -a before
  while IFS= read -r line; do
    read -r -a before <<<"${line%% - *}"
    rest=${line##* - }
    [[ ${before[4]} == "$path" && ${rest%% *} == *"$wanted"* ]] && return 0
  done </proc/self/mountinfo
  return 1
}

for i in "${!paths[@]}"; do
  wanted=${types[$i]:-}
  # Their file system type does not carry the runtime's name.
  case $wanted in
    jindo | thin | cache) wanted=fuse ;;
  esac
  deadline=$((SECONDS + 10))
  until mounted "${paths[$i]}" "$wanted"; do
    if ((SECONDS >= deadline)); then
      echo "${paths[$i]} is not mounted by ${types[$i]:-} after 10 s"
      exit 1
    fi
    sleep 0.5
  done
done
)";

std::string ScriptHash(std::string_view script) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(script.data()), script.size(), digest.data());
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex.substr(0, 63);
}

// `hash` is the script's.
Json ConfigMap(const std::string& ns, const std::string& name, const char* key, const char* script,
               const std::string& hash) {
  return Json::object(
      {{"apiVersion", "v1"},
       {"kind", "ConfigMap"},
       {"metadata", Json::object({{"namespace", ns},
                                  {"name", name},
                                  {"annotations", Json::object({{keys::kScriptHash, hash}})}})},
       {"data", Json::object({{key, script}})}});
}

}  // namespace

std::string SidecarConfigMapName(const std::string& mount_type) {
  std::string name = mount_type;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name + "-default-check-mount";
}

Json SidecarConfigMap(const DatasetUse& use, const std::string& mount_type) {
  static const std::string kHash = ScriptHash(kSidecarScriptText);
  Json map = ConfigMap(use.ns, SidecarConfigMapName(mount_type), kSidecarScript, kSidecarScriptText,
                       kHash);
  map["metadata"]["labels"] =
      Json::object({{keys::kDatasetId, names::DatasetId(use.ns, use.name, use.uid)}});
  return map;
}

Json AppConfigMap(const std::string& ns) {
  static const std::string kHash = ScriptHash(kAppScriptText);
  return ConfigMap(ns, kAppConfigMap, kAppScript, kAppScriptText, kHash);
}

Json ScriptVolume(const std::string& volume, const std::string& config_map) {
  constexpr int kExecutable = 0755;
  return Json::object(
      {{"name", volume},
       {"configMap", Json::object({{"name", config_map}, {"defaultMode", kExecutable}})}});
}

Json ScriptMount(const std::string& volume, const std::string& script) {
  return Json::object(
      {{"name", volume}, {"mountPath", "/" + script}, {"subPath", script}, {"readOnly", true}});
}

Json BashHook(const std::string& command) {
  return Json::object(
      {{"exec", Json::object({{"command", Json::array({"bash", "-c", command})}})}});
}

}  // namespace sluice::injection
