/* SPDX-License-Identifier: MIT */
/* Names of statuses and events. */
#include <rhizome/stats.h>

const char *rhz_status_name(enum rhz_status status)
{
	switch (status) {
	case RHZ_OK: return "RHZ_OK";
	case RHZ_ERR_NO_MEMORY: return "RHZ_ERR_NO_MEMORY";
	case RHZ_ERR_MEMORY_SIZE: return "RHZ_ERR_MEMORY_SIZE";
	case RHZ_ERR_ALIGNMENT: return "RHZ_ERR_ALIGNMENT";
	case RHZ_ERR_RANGE: return "RHZ_ERR_RANGE";
	case RHZ_ERR_OVERLAP: return "RHZ_ERR_OVERLAP";
	case RHZ_ERR_NOT_FOUND: return "RHZ_ERR_NOT_FOUND";
	case RHZ_ERR_BUSY: return "RHZ_ERR_BUSY";
	case RHZ_ERR_TOO_MANY_SLOTS: return "RHZ_ERR_TOO_MANY_SLOTS";
	case RHZ_ERR_TOO_MANY_RAMS: return "RHZ_ERR_TOO_MANY_RAMS";
	case RHZ_ERR_TOO_MANY_VCPUS: return "RHZ_ERR_TOO_MANY_VCPUS";
	case RHZ_ERR_TOO_MANY_ROOTS: return "RHZ_ERR_TOO_MANY_ROOTS";
	case RHZ_ERR_TOO_MANY_FRAMES: return "RHZ_ERR_TOO_MANY_FRAMES";
	case RHZ_ERR_ADDRESS_SPACE: return "RHZ_ERR_ADDRESS_SPACE";
	case RHZ_ERR_QUOTA: return "RHZ_ERR_QUOTA";
	case RHZ_ERR_POLICY: return "RHZ_ERR_POLICY";
	case RHZ_ERR_FEATURE: return "RHZ_ERR_FEATURE";
	case RHZ_ERR_ARGUMENT: return "RHZ_ERR_ARGUMENT";
	}
	return "unknown status";
}

const char *rhz_event_name(enum rhz_event_kind kind)
{
	switch (kind) {
	case RHZ_EVENT_ROOT_SWITCH: return "root_switch";
	case RHZ_EVENT_ROOT_BUILT: return "root_built";
	case RHZ_EVENT_ROOT_DROPPED: return "root_dropped";
	case RHZ_EVENT_ROOT_FREED: return "root_freed";
	case RHZ_EVENT_PAGE_FAULT: return "page_fault";
	case RHZ_EVENT_SET_SPTE: return "set_spte";
	case RHZ_EVENT_GET_PAGE: return "get_page";
	case RHZ_EVENT_ZAP_PAGE: return "zap_page";
	case RHZ_EVENT_UNSYNC_PAGE: return "unsync_page";
	case RHZ_EVENT_SYNC_PAGE: return "sync_page";
	case RHZ_EVENT_INVALIDATE: return "invalidate";
	case RHZ_EVENT_FLUSH: return "flush";
	}
	return "unknown event";
}
