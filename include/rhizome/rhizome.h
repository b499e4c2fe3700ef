/* SPDX-License-Identifier: MIT */
/* The whole interface of librhizome. An embedder includes this one header. */
#ifndef RHIZOME_RHIZOME_H
#define RHIZOME_RHIZOME_H

#include <rhizome/guest.h>
#include <rhizome/host.h>
#include <rhizome/root.h>
#include <rhizome/stats.h>
#include <rhizome/types.h>
#include <rhizome/vcpu.h>
#include <rhizome/vm.h>

#define RHZ_VERSION "0.1.0"

#endif
