// Judges how an S3 server refuses. Pure.
#pragma once

#include "http_response.h"
#include "s3_xml.h"

namespace sluice::origin {

// What gave the keys that signed the refused request: who has to be told to mend them.
enum class KeysOf {
  kSecret,    // the mount's Secret; anonymous access, too
  kIdentity,  // temporary ones, renewed by themselves
};

// For a status that is not the one wanted. `error` is the error document, empty fields when none.
Verdict JudgeStatus(int status, const S3Error& error, KeysOf keys);

}  // namespace sluice::origin
