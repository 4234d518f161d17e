// As much of JSON as a description needs: objects, arrays, strings, numbers, true, false, null.
#pragma once

#include <cctype>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct Json {
    enum Kind { Null, Bool, Number, String, Array, Object } kind = Null;
    double number = 0;  // of a bool 0 or 1
    std::string text;
    std::vector<Json> items;
    std::map<std::string, Json> entries;

    const Json& operator[](const std::string& name) const {
        auto found = entries.find(name);
        if (found == entries.end()) throw std::runtime_error("the description lacks " + name);
        return found->second;
    }
    std::vector<float> floats() const {
        std::vector<float> values;
        for (const Json& item : items) values.push_back((float)item.number);
        return values;
    }
};

class JsonReader {
public:
    explicit JsonReader(const std::string& text) : text_(text) {}

    Json read() {
        Json value;
        char next = peek();
        if (next == '{') {
            value.kind = Json::Object;
            for (take('{'); peek() != '}';) {
                std::string name = string();
                take(':');
                value.entries[name] = read();
                if (peek() == ',') take(',');
            }
            take('}');
        } else if (next == '[') {
            value.kind = Json::Array;
            for (take('['); peek() != ']';) {
                value.items.push_back(read());
                if (peek() == ',') take(',');
            }
            take(']');
        } else if (next == '"') {
            value.kind = Json::String;
            value.text = string();
        } else if (std::isalpha((unsigned char)next)) {
            std::string word;
            while (at_ < text_.size() && std::isalpha((unsigned char)text_[at_])) word += text_[at_++];
            value.kind = word == "null" ? Json::Null : Json::Bool;
            value.number = word == "true";
        } else {
            char* end = nullptr;
            value.kind = Json::Number;
            value.number = std::strtod(text_.c_str() + at_, &end);
            if (end == text_.c_str() + at_) throw std::runtime_error("the description is no JSON");
            at_ = end - text_.c_str();
        }
        return value;
    }

private:
    char peek() {
        while (at_ < text_.size() && std::isspace((unsigned char)text_[at_])) ++at_;
        if (at_ >= text_.size()) throw std::runtime_error("the description is cut short");
        return text_[at_];
    }
    void take(char expected) {
        if (peek() != expected) throw std::runtime_error("the description is no JSON");
        ++at_;
    }
    std::string string() {
        take('"');
        std::string value;
        for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
            if (text_[at_] == '\\') ++at_;  // names with \u stay as they are written
            value += text_[at_];
        }
        ++at_;
        return value;
    }

    const std::string& text_;
    size_t at_ = 0;
};
